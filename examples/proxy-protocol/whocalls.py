#!/usr/bin/env python3
"""A TCP service that knows who calls it.

It stands behind a connect-proxy with local_proxy_protocol = "v2", which sends a
PROXY protocol header before the first byte of each connection. The service
answers with the caller's SPIFFE ID and addresses, and then with what it is sent.

    ./whocalls.py 8080

It believes whoever can reach its port. It therefore listens on a loopback
address, where every user of the machine can still claim to be any caller: give
it a network namespace of its own, shared with its proxy, where that matters.
"""

import ipaddress
import socketserver
import struct
import sys

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
ADDRESSES = {0x11: (4, 12), 0x21: (16, 36)}  # TCP over IPv4 and IPv6: bytes of one address, of all
AUTHORITY, SPIFFE_ID = 0x02, 0xE0


def exactly(stream, n):
    data = stream.read(n)
    if len(data) != n:
        raise ValueError("the connection ended within the header")
    return data


def address(ip, port):
    ip = ipaddress.ip_address(ip)
    return f"[{ip}]:{port}" if ip.version == 6 else f"{ip}:{port}"


def fields(data):
    """The fields after the addresses: type, length in two bytes, value."""
    found = {}
    while data:
        if len(data) < 3:
            raise ValueError("a field is cut short")
        kind, length = struct.unpack("!BH", data[:3])
        if len(data) < 3 + length:
            raise ValueError("a field is cut short")
        found[kind] = data[3 : 3 + length]
        data = data[3 + length :]
    return found


def header(stream):
    """Reads a header and nothing behind it."""
    signature, version, family, length = struct.unpack("!12sBBH", exactly(stream, 16))
    if signature != SIGNATURE or version not in (0x20, 0x21):
        raise ValueError("no PROXY protocol header, version 2: nobody says who this is")
    data = exactly(stream, length)
    caller = {"from": "a unix socket", "to": "a unix socket"}
    if version == 0x21:
        if family not in ADDRESSES:
            raise ValueError(f"addresses of an unknown kind, {family:#x}")
        size, used = ADDRESSES[family]
        if length < used:
            raise ValueError("the addresses are cut short")
        source, target = struct.unpack("!HH", data[2 * size : used])
        caller = {"from": address(data[:size], source), "to": address(data[size : 2 * size], target)}
        data = data[used:]
    found = fields(data)
    if SPIFFE_ID not in found:
        raise ValueError("the header has no SPIFFE ID")
    caller["id"] = found[SPIFFE_ID].decode()
    caller["name"] = found.get(AUTHORITY, b"").decode()
    return caller


class Service(socketserver.StreamRequestHandler):
    timeout = 60

    def handle(self):
        try:
            caller = header(self.rfile)
        except (ValueError, OSError) as problem:
            print("refused:", problem, flush=True)
            return
        line = "{id} from {from} to {to}, asking for {name!r}".format(**caller)
        print(line, flush=True)
        self.wfile.write(f"you are {line}\n".encode())
        for request in self.rfile:
            self.wfile.write(request)


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8080
    with Server(("127.0.0.1", port), Service) as server:
        print("listening on 127.0.0.1:%d" % server.server_address[1], flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            pass
