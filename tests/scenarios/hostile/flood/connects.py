# Begins 18 000 connections to an address and port without waiting for them, prints "opening", and closes them when its
# input ends.
import socket, sys

held = []
for n in range(18000):
    s = socket.socket()
    s.setblocking(False)
    s.connect_ex((sys.argv[1], int(sys.argv[2])))
    held.append(s)
print('opening', flush=True)
sys.stdin.read()
