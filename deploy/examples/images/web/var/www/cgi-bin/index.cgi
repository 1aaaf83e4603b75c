#!/bin/sh
# Shows which replica answered, and what the service "api" says when called by its name.
api=$(timeout 3 wget -q -O - http://api/ 2>&1) || api="no answer ($api)"
printf 'Content-Type: text/plain\r\n\r\n'
echo "web version $VERSION, replica $(hostname)"
echo "$api"
