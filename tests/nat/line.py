"""A thin line between a home and its router: a rate with a queue before it, a delay and a loss, each way.

It runs in the router's namespace and takes over the way to one host of the home:

    line.py NAMESPACE ADDRESS GATEWAY

Both ends are TUN devices of this program, so that it needs nothing of the kernel's own shapers. It says
`ready`, then reads one JSON line for each change, `{"up": WAY, "down": WAY}`, and answers it with what has passed
since the one before. A WAY has `rate` (bits a second, 0: as fast as it comes), `queue` and `delay` (seconds) and
`loss` (0 to 1). When its input ends, the home has its old way back.
"""

import fcntl
import json
import os
import random
import select
import struct
import subprocess
import sys
import time
from collections import deque

TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 0x0001, 0x1000
MTU = 1500


class Way:
    """One direction: what waits for its turn, and when the line is free again."""

    def __init__(self):
        self.waiting = deque()
        self.dice = random.Random(1)
        self.last = 0.0
        self.passed = self.dropped = 0
        self.become(rate=0, queue=0, delay=0, loss=0)

    def become(self, rate, queue, delay, loss):
        self.rate, self.queue, self.delay, self.loss = rate, queue, delay, loss
        self.free_at = 0.0

    def take(self, packet, now):
        begins = max(self.free_at, now)
        if self.dice.random() < self.loss or (self.rate and begins - now > self.queue):
            self.dropped += 1
            return
        self.free_at = begins + (len(packet) * 8 / self.rate if self.rate else 0)
        # Nobody overtakes, also where the delay has just become shorter.
        self.last = max(self.last, self.free_at + self.delay)
        self.waiting.append((self.last, packet))

    def give(self, now, out):
        while self.waiting and self.waiting[0][0] <= now:
            packet = self.waiting.popleft()[1]
            try:
                os.write(out, packet)
                self.passed += len(packet)
            except OSError:
                self.dropped += 1

    def told(self):
        told = {"bytes": self.passed, "dropped": self.dropped}
        self.passed = self.dropped = 0
        return told


def tun(name):
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH", name.encode(), IFF_TUN | IFF_NO_PI))
    return device


def ip(*words):
    subprocess.run(["ip", *words], check=True)


def lay(namespace, address):
    """The two ends: `line` here, `modem` there, and the routes over them."""
    here, there = tun("line"), tun("modem")
    ip("link", "set", "modem", "netns", namespace)
    ip("link", "set", "line", "mtu", str(MTU), "up")
    ip("-n", namespace, "link", "set", "modem", "mtu", str(MTU), "up")
    ip("route", "add", f"{address}/32", "dev", "line")
    ip("-n", namespace, "route", "replace", "default", "dev", "modem", "src", address)
    return here, there


def run(here, there):
    up, down = Way(), Way()
    out = {up: here, down: there}
    came = {there: up, here: down}
    print("ready", flush=True)
    while True:
        due = [way.waiting[0][0] for way in out if way.waiting]
        pause = max(0.0, min(due) - time.monotonic()) if due else None
        readable, _, _ = select.select([here, there, 0], [], [], pause)
        now = time.monotonic()
        for device in readable:
            if device == 0:
                line = sys.stdin.buffer.raw.readline()
                if not line:
                    return
                for name, settings in json.loads(line).items():
                    {"up": up, "down": down}[name].become(**settings)
                print(json.dumps({"up": up.told(), "down": down.told()}), flush=True)
            else:
                came[device].take(os.read(device, 65536), now)
        for way in out:
            way.give(time.monotonic(), out[way])


if __name__ == "__main__":
    _, space, host, gateway = sys.argv
    ends = lay(space, host)
    try:
        run(*ends)
    finally:
        for end in ends:
            os.close(end)
        ip("-n", space, "route", "replace", "default", "via", gateway)
