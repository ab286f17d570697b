# A TCP client over a raw socket: it does not call connect(), so no eBPF hook runs. Arguments: source, destination, port,
# the source address to claim. Prints the result.
import os, random, socket, struct, sys, time

own, to, port, claimed = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]


def checksum(data):
    if len(data) % 2:
        data += b'\0'
    total = sum(struct.unpack('!%dH' % (len(data) // 2), data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def segment(sport, seq, ack, flags, data=b''):
    head = struct.pack('!HHIIBBHHH', sport, port, seq & 0xffffffff, ack & 0xffffffff, 5 << 4, flags, 65000, 0, 0)
    pseudo = socket.inet_aton(claimed) + socket.inet_aton(to) + struct.pack('!BBH', 0, 6, len(head) + len(data))
    tcp = head[:16] + struct.pack('!H', checksum(pseudo + head + data)) + head[18:] + data
    ip = struct.pack('!BBHHHBBH', 0x45, 0, 20 + len(tcp), random.randrange(65536), 0, 64, 6, 0)
    return ip + socket.inet_aton(claimed) + socket.inet_aton(to) + tcp


raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)
raw.setsockopt(socket.IPPROTO_IP, socket.IP_HDRINCL, 1)
raw.settimeout(0.2)
sport, seq = random.randrange(20000, 30000), random.randrange(1 << 32)
raw.sendto(segment(sport, seq, 0, 2), (to, 0))
peer, got, reset, end = None, b'', False, time.time() + 3
while time.time() < end and not reset:
    try:
        packet = raw.recv(65536)
    except TimeoutError:
        continue
    head = (packet[0] & 15) * 4
    if packet[12:16] != socket.inet_aton(to) or packet[9] != 6:
        continue
    theirs, mine, their_seq, _, offset, flags = struct.unpack('!HHIIBB', packet[head:head + 14])
    if (theirs, mine) != (port, sport):
        continue
    data = packet[head + (offset >> 4) * 4:]
    if flags & 4:
        reset = True
    elif flags & 0x12 == 0x12 and peer is None:
        peer = their_seq + 1
        raw.sendto(segment(sport, seq + 1, peer, 16), (to, 0))
        raw.sendto(segment(sport, seq + 1, peer, 24, b'plain bytes'), (to, 0))
    else:
        got += data
# If the answers go elsewhere: an acknowledgement with a random number.
if peer is None and not reset:
    guess = random.randrange(1 << 32)
    raw.sendto(segment(sport, seq + 1, guess, 16), (to, 0))
    raw.sendto(segment(sport, seq + 1, guess, 24, b'plain bytes'), (to, 0))
print('answered' if got else 'reset' if reset else 'silence')
