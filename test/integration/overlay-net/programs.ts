/** Programs that the tests run inside of namespaces. */

/** Prints "same" when so many bytes by TCP, and then a datagram of 8,000, come back as they were. */
export const MIRROR_CLIENT = `
const [, host, port, bytes] = process.argv;
const { createHash, randomBytes } = require('crypto');
const digest = (b) => createHash('sha256').update(b).digest('hex');
const body = randomBytes(Number(bytes));
const s = require('net').connect(Number(port), host);
const back = createHash('sha256');
s.setTimeout(10000, () => { console.log('tcp timeout'); process.exit(1); });
s.on('data', (d) => back.update(d)).on('error', (e) => console.log(e.code));
s.on('end', () => {
  if (back.digest('hex') !== digest(body)) { console.log('tcp differs'); process.exit(1); }
  const datagram = body.subarray(0, 8000);
  const u = require('dgram').createSocket('udp4');
  setTimeout(() => { console.log('udp timeout'); process.exit(1); }, 5000);
  u.on('message', (m) => { console.log(m.equals(datagram) ? 'same' : 'udp differs'); process.exit(0); });
  u.send(datagram, Number(port), host);
});
s.end(body);`;

/** Turns off what a network card would do for eth0: checksums and segments are made in software. */
export const OFFLOADS_OFF = `
import fcntl, socket, struct, array
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for command in (0x15, 0x17, 0x19, 0x1f, 0x24, 0x2c): # rx and tx checksums, sg, tso, gso, gro
    value = array.array('B', struct.pack('II', command, 0))
    request = struct.pack('16sP', b'eth0', value.buffer_info()[0])
    try: fcntl.ioctl(s, 0x8946, request)
    except OSError as e: print(hex(command), e) if command == 0x17 else None
`;

const SCTP = `
import socket, struct, sys, time
TABLE = []
for n in range(256):
    for _ in range(8): n = (n >> 1) ^ 0x82F63B78 if n & 1 else n >> 1
    TABLE.append(n)
def crc32c(data):
    c = 0xFFFFFFFF
    for b in data: c = TABLE[(c ^ b) & 255] ^ (c >> 8)
    return c ^ 0xFFFFFFFF
def packet(source, target, tag, chunk):
    head = struct.pack('!HHI', source, target, tag)
    return head + struct.pack('<I', crc32c(head + bytes(4) + chunk)) + chunk
def chunk(kind, tag): # INIT or INIT ACK
    return struct.pack('!BBHIIHHI', kind, 0, 20, tag, 65536, 1, 1, 1)
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, 132)
`;

/** Answers INIT chunks to a port; the new tag is the client's address, as a number. */
export const SCTP_SERVER = `${SCTP}
port = int(sys.argv[1])
print('ready', flush=True)
while True:
    data, (client, _) = s.recvfrom(2048)
    data = data[(data[0] & 15) * 4:]
    source, target, _, crc = struct.unpack('!HHII', data[:12])
    if target != port or data[12] != 1: continue
    if struct.unpack('<I', data[8:12])[0] != crc32c(data[:8] + bytes(4) + data[12:]): continue
    tag = struct.unpack('!I', data[16:20])[0]
    me = struct.unpack('!I', socket.inet_aton(client))[0]
    s.sendto(packet(port, source, tag, chunk(2, me)), (client, 0))
`;

/** Prints what answered an INIT chunk, and as whom the server saw this client. */
export const SCTP_CLIENT = `${SCTP}
host, port = sys.argv[1], int(sys.argv[2])
s.settimeout(3)
own = 40000 + time.time_ns() % 20000
s.sendto(packet(own, port, 0, chunk(1, 4711)), (host, 0))
try:
    while True:
        data, (server, _) = s.recvfrom(2048)
        data = data[(data[0] & 15) * 4:]
        source, target, tag, _ = struct.unpack('!HHII', data[:12])
        if target != own: continue
        whole = struct.unpack('<I', data[8:12])[0] == crc32c(data[:8] + bytes(4) + data[12:])
        seen = socket.inet_ntoa(data[16:20])
        kind = 'init-ack' if data[12] == 2 and tag == 4711 and whole else 'broken'
        print(kind, server, source, 'for', seen)
        break
except socket.timeout:
    print('timeout')
`;

/**
 * Sends three frames by eth0 to the container at 10.128.1.11: with a wrong address of one kind, or
 * "own" with none; or one frame of a tunnel ("tunnel", host, VNI).
 */
export const FORGER = `
import socket, struct, sys
kind, own, target = sys.argv[1:4]
def mac(text): return bytes.fromhex(text.replace(':', ''))
def of(address): return b'\\x02\\x42' + socket.inet_aton(address)
def checksum(b):
    total = sum(struct.unpack('!%dH' % (len(b) // 2), b))
    while total >> 16: total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff
def ip(source, destination):
    payload = struct.pack('!HHHH', 4000, 4001, 8, 0)
    head = struct.pack('!BBHHHBBH4s4s', 0x45, 0, 28, 1, 0, 64, 17, 0,
                       socket.inet_aton(source), socket.inet_aton(destination))
    return head[:10] + struct.pack('!H', checksum(head)) + head[12:] + payload
def arp(sender_mac, sender):
    return struct.pack('!HHBBH6s4s6s4s', 1, 0x800, 6, 4, 2, sender_mac,
                       socket.inet_aton(sender), of(target), socket.inet_aton(target))
def frame(source, kind, content): return of(target) + source + struct.pack('!H', kind) + content
if kind == 'tunnel':
    inner = (b'\\x02\\x42' + socket.inet_aton('10.128.1.10') + of('10.128.1.11') + b'\\x08\\x00'
             + ip('10.128.1.11', '10.128.1.10'))
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.sendto(struct.pack('!II', 0x08000000, int(target) << 8) + inner, (own, 4789))
    sys.exit()
frames = {
    'own': frame(of(own), 0x800, ip(own, target)),
    'mac': frame(mac('02:42:0a:80:01:63'), 0x800, ip(own, target)),
    'ip': frame(of(own), 0x800, ip('10.128.1.99', target)),
    'arp': frame(of(own), 0x806, arp(of(own), '10.128.1.1')),
    'arp-mac': frame(of(own), 0x806, arp(mac('02:42:0a:80:01:63'), own)),
    'vlan': frame(of(own), 0x8100, struct.pack('!HH', 5, 0x800) + ip(own, target)),
    'ipv6': frame(of(own), 0x86dd, bytes([0x60]) + bytes(39)),
    'other': frame(of(own), 0x88b5, bytes(46)),
}
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(('eth0', 0))
for _ in range(3): s.send(frames[kind])
`;
