# Attaches the pod's own BPF programs: sk_lookup to its network namespace, which gives every connection to the listener on
# the port of argument 1; connect4 to its cgroup, which allows everything. Prints "attached", then answers the clients of
# its listener with "mine" until its input ends.
import ctypes, os, platform, socket, struct, sys, threading

libc = ctypes.CDLL(None, use_errno=True)
CALL = {'x86_64': 321, 'aarch64': 280}[platform.machine()]


def bpf(command, attributes):
    buffer = ctypes.create_string_buffer(attributes.ljust(144, b'\0'), 144)
    result = libc.syscall(CALL, command, buffer, 144)
    if result < 0:
        raise OSError(ctypes.get_errno(), 'bpf %d' % command)
    return result


keep = []


def pointer(data):
    buffer = ctypes.create_string_buffer(data, len(data))
    keep.append(buffer)
    return ctypes.addressof(buffer)


def op(code, dst=0, src=0, offset=0, value=0):
    return struct.pack('=BBhi', code, src << 4 | dst, offset, value)


def program(kind, attach, code):
    log = ctypes.create_string_buffer(1 << 16)
    text = struct.pack('=IIQQIIQII16sII', kind, len(code) // 8, pointer(code), pointer(b'GPL\0'), 1, len(log),
                       ctypes.addressof(log), 0, 0, b'mallorys', 0, attach)
    try:
        return bpf(5, text)
    except OSError as error:
        raise SystemExit('%s\n%s' % (error, log.value.decode()))


listener = socket.create_server(('0.0.0.0', int(sys.argv[1])))
sockets = bpf(0, struct.pack('=IIII', 15, 4, 8, 1))
bpf(2, struct.pack('=I4xQQQ', sockets, pointer(struct.pack('=I', 0)), pointer(struct.pack('=Q', listener.fileno())), 0))
steal = b''.join([
    op(0xbf, 6, 1),                                    # r6 = context
    op(0x18, 1, 1, 0, sockets), op(0),                 # r1 = map
    op(0xbf, 2, 10), op(0x07, 2, 0, 0, -4),            # r2 = stack
    op(0x62, 10, 0, -4, 0),                            # key 0
    op(0x85, 0, 0, 0, 1),                              # map_lookup_elem
    op(0x15, 0, 0, 7, 0),                              # none: out
    op(0xbf, 7, 0),
    op(0xbf, 1, 6), op(0xbf, 2, 7), op(0xb7, 3, 0, 0, 1),
    op(0x85, 0, 0, 0, 124),                            # sk_assign(context, socket, REPLACE)
    op(0xbf, 1, 7), op(0x85, 0, 0, 0, 86),             # sk_release
    op(0xb7, 0, 0, 0, 1), op(0x95),                    # pass
])
namespace = os.open('/proc/thread-self/ns/net', os.O_RDONLY)
links = [bpf(28, struct.pack('=IIII', program(30, 36, steal), namespace, 36, 0))]
own = next(line[3:].strip() for line in open('/proc/self/cgroup') if line.startswith('0::'))
root = next(line.split()[1] for line in open('/proc/mounts') if line.split()[2] == 'cgroup2')
folder = os.open(root + own, os.O_RDONLY)
links.append(bpf(28, struct.pack('=IIII', program(18, 10, op(0xb7, 0, 0, 0, 1) + op(0x95)), folder, 10, 0)))
print('attached', flush=True)


def serve():
    while True:
        client, _ = listener.accept()
        client.sendall(b'mine')
        client.close()


threading.Thread(target=serve, daemon=True).start()
sys.stdin.read()
