"""HTTP over a raw socket: what is sent is exactly what a case writes, what comes back is checked for its framing."""

import socket

TIMEOUT = 20


class Response:
    """One response as it came: fields in the order sent, with their repetitions."""

    def __init__(self, version, status, reason, fields, body):
        self.version = version
        self.status = status
        self.reason = reason
        self.fields = fields
        self.body = body

    def all(self, name):
        return [value for field, value in self.fields if field.lower() == name.lower()]

    def field(self, name):
        values = self.all(name)
        assert len(values) <= 1, f"{name} is repeated: {values}"
        return values[0] if values else None

    def __repr__(self):
        return f"{self.version} {self.status} {self.reason} {self.fields} {self.body[:200]!r}"


class Connection:
    """A client connection that reads one response at a time."""

    def __init__(self, port, host="127.0.0.1", receive_buffer=None):
        self.socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(TIMEOUT)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.connect((host, port))
        self.received = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data if isinstance(data, bytes) else data.encode("latin-1"))

    def send_in_pieces(self, data, *places):
        """Sends data in several segments, cut at places."""
        data = data if isinstance(data, bytes) else data.encode("latin-1")
        for start, end in zip((0, *places), (*places, len(data))):
            self.socket.sendall(data[start:end])

    def _fill(self):
        part = self.socket.recv(65536)
        self.received += part
        return len(part) > 0

    def _take(self, count):
        while len(self.received) < count:
            assert self._fill(), f"closed {count - len(self.received)} bytes early, after {self.received[-200:]!r}"
        taken, self.received = self.received[:count], self.received[count:]
        return taken

    def read(self, method="GET"):
        """Reads one response. Its body's length must be stated, or it ends with the connection."""
        while b"\r\n\r\n" not in self.received:
            assert self._fill(), f"closed without a whole response head: {self.received!r}"
        head, _, self.received = self.received.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        version, status, reason = (lines[0].split(" ", 2) + [""])[:3]
        fields = []
        for line in lines[1:]:
            name, separator, value = line.partition(":")
            assert separator and name == name.strip(), f"malformed field line: {line!r}"
            fields.append((name, value.strip()))
        response = Response(version, int(status), reason, fields, b"")
        length = response.field("Content-Length")
        bodiless = method == "HEAD" or response.status < 200 or response.status in (204, 304)
        if bodiless:
            return response
        if length is not None:
            response.body = self._take(int(length))
            return response
        while self._fill():
            pass
        response.body, self.received = self.received, b""
        return response

    def request(self, text, method="GET"):
        self.send(text)
        return self.read(method)

    def get(self, target, *fields, method="GET"):
        lines = "".join(field + "\r\n" for field in fields)
        return self.request(f"{method} {target} HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n", method)

    def post(self, target, body, *fields):
        lines = "".join(field + "\r\n" for field in fields)
        self.send(f"POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n{lines}\r\n")
        self.send(body)
        return self.read()

    def expect_closed(self):
        """The server closes, and nothing more comes: an orderly end or, after an error, a reset."""
        try:
            while self._fill():
                pass
        except ConnectionResetError:
            pass
        assert self.received == b"", f"more came before the end: {self.received[:200]!r}"

    def expect_open(self):
        """The connection still serves."""
        response = self.get("/no-such-path")
        assert response.status == 404, response


def get(port, target, *fields, method="GET"):
    with Connection(port) as connection:
        return connection.get(target, *fields, method=method)


def post(port, target, body, *fields):
    with Connection(port) as connection:
        return connection.post(target, body, *fields)


def text(port, target):
    """The body of a GET that must succeed."""
    response = get(port, target)
    assert response.status == 200, response
    return response.body.decode()


def refuses_connections(port):
    """Whether nobody listens on a port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0
