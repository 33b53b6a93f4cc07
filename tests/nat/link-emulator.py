"""Emulates a slow link between a host and its router: rate, queue, delay and loss in each direction.

It runs in the router's network namespace and takes over the route to one host:

    link-emulator.py NAMESPACE ADDRESS GATEWAY

Both ends are TUN devices of this program, which needs no traffic control in the kernel. It prints `ready`, then reads one
JSON line per change, `{"up": DIRECTION, "down": DIRECTION}`, and answers with the traffic since the previous change. A
DIRECTION has `rate` (bit/s, 0: unlimited), `queue` and `delay` (seconds) and `loss` (0 to 1). At the end of its input it
restores the host's route.
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


class Direction:
    """One direction of the link: the packets in flight, and when the link is free again."""

    def __init__(self):
        self.in_flight = deque()
        self.random = random.Random(1)
        self.last_arrival = 0.0
        self.passed_bytes = self.dropped = 0
        self.configure(rate=0, queue=0, delay=0, loss=0)

    def configure(self, rate, queue, delay, loss):
        self.rate, self.queue, self.delay, self.loss = rate, queue, delay, loss
        self.free_at = 0.0

    def enqueue(self, packet, now):
        starts_at = max(self.free_at, now)
        if self.random.random() < self.loss or (self.rate and starts_at - now > self.queue):
            self.dropped += 1
            return
        self.free_at = starts_at + (len(packet) * 8 / self.rate if self.rate else 0)
        # Packets stay in order, also when the delay has just become shorter.
        self.last_arrival = max(self.last_arrival, self.free_at + self.delay)
        self.in_flight.append((self.last_arrival, packet))

    def deliver(self, now, device):
        while self.in_flight and self.in_flight[0][0] <= now:
            packet = self.in_flight.popleft()[1]
            try:
                os.write(device, packet)
                self.passed_bytes += len(packet)
            except OSError:
                self.dropped += 1

    def take_counters(self):
        counters = {"bytes": self.passed_bytes, "dropped": self.dropped}
        self.passed_bytes = self.dropped = 0
        return counters


def open_tun(name):
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH", name.encode(), IFF_TUN | IFF_NO_PI))
    return device


def ip(*args):
    subprocess.run(["ip", *args], check=True)


def set_up(namespace, address):
    """Creates the ends, `emulator` at the router and `modem` at the host, and the routes over them."""
    router_end, host_end = open_tun("emulator"), open_tun("modem")
    ip("link", "set", "modem", "netns", namespace)
    ip("link", "set", "emulator", "mtu", str(MTU), "up")
    ip("-n", namespace, "link", "set", "modem", "mtu", str(MTU), "up")
    ip("route", "add", f"{address}/32", "dev", "emulator")
    ip("-n", namespace, "route", "replace", "default", "dev", "modem", "src", address)
    return router_end, host_end


def run(router_end, host_end):
    up, down = Direction(), Direction()
    outputs = {up: router_end, down: host_end}
    inputs = {host_end: up, router_end: down}
    print("ready", flush=True)
    while True:
        arrivals = [direction.in_flight[0][0] for direction in outputs if direction.in_flight]
        timeout = max(0.0, min(arrivals) - time.monotonic()) if arrivals else None
        readable, _, _ = select.select([router_end, host_end, 0], [], [], timeout)
        now = time.monotonic()
        for device in readable:
            if device == 0:
                line = sys.stdin.buffer.raw.readline()
                if not line:
                    return
                for name, settings in json.loads(line).items():
                    {"up": up, "down": down}[name].configure(**settings)
                print(json.dumps({"up": up.take_counters(), "down": down.take_counters()}), flush=True)
            else:
                inputs[device].enqueue(os.read(device, 65536), now)
        for direction, device in outputs.items():
            direction.deliver(time.monotonic(), device)


if __name__ == "__main__":
    _, host_namespace, host_address, host_gateway = sys.argv
    ends = set_up(host_namespace, host_address)
    try:
        run(*ends)
    finally:
        for end in ends:
            os.close(end)
        ip("-n", host_namespace, "route", "replace", "default", "via", host_gateway)
