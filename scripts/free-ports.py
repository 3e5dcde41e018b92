#!/usr/bin/env python3
"""Prints the first of COUNT ports in a row on the loopback address that nothing uses: free-ports.py COUNT"""

import random
import socket
import sys

count = int(sys.argv[1])
for base in random.sample(range(20000, 30000, count), 200):
    sockets = []
    try:
        for port in range(base, base + count):
            sockets.append(socket.create_server(("127.0.0.1", port)))
        print(base)
        break
    except OSError:
        continue
    finally:
        for one in sockets:
            one.close()
else:
    sys.exit("no free ports")
