#!/usr/bin/python3
"""Hands a fault over to the test that listens on the socket: fault.py SOCKET FAULT [ARGUMENT]; its status is
what the test says."""
import socket
import sys

with socket.socket(socket.AF_UNIX) as control:
    control.connect(sys.argv[1])
    control.sendall((" ".join(sys.argv[2:]) + "\n").encode())
    sys.exit(int(control.makefile().readline() or 1))
