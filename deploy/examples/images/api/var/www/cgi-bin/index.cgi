#!/bin/sh
printf 'Content-Type: text/plain\r\n\r\n'
caller=${REMOTE_ADDR##*:} # [::ffff:10.0.0.1] → 10.0.0.1]
echo "api version $VERSION, replica $(hostname), called by ${caller%]}"
