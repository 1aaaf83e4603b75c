#!/bin/sh
printf 'Content-Type: text/plain\r\n\r\n'
echo "api version $VERSION, replica $(hostname), called by $REMOTE_ADDR"
