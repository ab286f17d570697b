# Listens on the ports 20000 to 24999, prints "listening", and closes them when its input ends.
import socket, sys

held = []
for port in range(20000, 25000):
    s = socket.socket()
    s.bind(('0.0.0.0', port))
    s.listen(1)
    held.append(s)
print('listening', flush=True)
sys.stdin.read()
