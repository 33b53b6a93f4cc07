# A small internet in network namespaces, to be sourced: world_up and world_down, each with a name.
#
#   box   45.0.0.10, 2a05:d000::10                      a1  10.1.0.2 ─┐
#    │                                                  a2  10.1.0.3 ─┴─ ra 45.0.1.2 ─┐
#   pub (routes, knows no private address) ─────────────────────────────────────────────┤
#    b1  10.2.0.2            anything goes   ┐                                          │
#    b2  10.2.0.3            TCP only        ├─ rb 45.0.2.2 ────────────────────────────┤
#    b3  10.2.0.4            TCP to 443 only ┘                                          │
#    c1  fd00:c::2 (no IPv4) ───────────────── rc 2a05:d003::2 ─────────────────────────┘
#
# ra, rb and rc translate addresses with a new random port for every destination (symmetric NAT) and drop
# what nobody inside asked for, so that no two homes reach each other directly. Interfaces are made inside
# the namespaces; nothing of the machine's own network is touched.

WORLD_HOSTS=(pub box ra rb rc a1 a2 b1 b2 b3 c1)

world_up() {
  local p=$1 host
  for host in "${WORLD_HOSTS[@]}"; do
    ip netns add "$p-$host"
    # Addresses are good at once: one that turns up a second later is a changed network to a browser, which then drops
    # the page it is just loading.
    ip netns exec "$p-$host" sh -c 'for which in all default; do echo 0 >"/proc/sys/net/ipv6/conf/$which/accept_dad"; done'
    ip -n "$p-$host" link set lo up
    mkdir -p "/etc/netns/$p-$host"
    # Nobody here has a name server: only the box has a name.
    printf 'nameserver 127.0.0.1\noptions timeout:1 attempts:1\n' >"/etc/netns/$p-$host/resolv.conf"
    printf '127.0.0.1 localhost\n::1 localhost\n45.0.0.10 box.test box.test.\n' >"/etc/netns/$p-$host/hosts"
  done
  printf '127.0.0.1 localhost\n::1 localhost\n2a05:d000::10 box.test box.test.\n' >"/etc/netns/$p-c1/hosts"

  world_cable "$p" pub box 45.0.0.1/24 45.0.0.10/24
  world_address "$p" pub to-box 2a05:d000::1/64
  world_address "$p" box wan 2a05:d000::10/64
  world_cable "$p" pub ra 45.0.1.1/24 45.0.1.2/24
  world_cable "$p" pub rb 45.0.2.1/24 45.0.2.2/24
  world_cable "$p" pub rc 2a05:d003::1/64 2a05:d003::2/64
  world_route "$p" box 45.0.0.1
  world_route "$p" box 2a05:d000::1
  world_route "$p" ra 45.0.1.1
  world_route "$p" rb 45.0.2.1
  world_route "$p" rc 2a05:d003::1
  world_forward "$p" pub

  world_home "$p" ra 10.1.0.1/24 a1=10.1.0.2/24 a2=10.1.0.3/24
  world_home "$p" rb 10.2.0.1/24 b1=10.2.0.2/24 b2=10.2.0.3/24 b3=10.2.0.4/24
  world_home "$p" rc fd00:c::1/64 c1=fd00:c::2/64
  world_nft "$p" rb insert rule inet house forward ip saddr 10.2.0.3 meta l4proto != tcp drop
  world_nft "$p" rb insert rule inet house forward ip saddr 10.2.0.4 tcp dport != 443 drop
  world_nft "$p" rb insert rule inet house forward ip saddr 10.2.0.4 meta l4proto != tcp drop
}

# Ends what still runs inside and takes everything away; may be called at any point of world_up.
world_down() {
  local p=$1 host pids
  for host in "${WORLD_HOSTS[@]}"; do
    [[ -e /run/netns/$p-$host ]] || continue
    pids=$(ip netns pids "$p-$host")
    # shellcheck disable=SC2086 # several numbers
    [[ -z $pids ]] || kill -KILL $pids 2>/dev/null || true
    ip netns del "$p-$host"
  done
  for host in "${WORLD_HOSTS[@]}"; do rm -rf "/etc/netns/$p-$host"; done
  rmdir /etc/netns 2>/dev/null || true
}

# A router's house: a switch `lan`, the hosts on it (NAME=ADDRESS …), translation and a closed front door.
world_home() {
  local p=$1 router=$2 gateway=$3 host
  shift 3
  # A switch without an address of its own takes the lowest of its ports': another port, another address, and for half a
  # minute the hosts write to the one before.
  ip -n "$p-$router" link add lan address 02:00:00:00:00:01 type bridge
  ip -n "$p-$router" link set lan up
  world_address "$p" "$router" lan "$gateway"
  for host in "$@"; do
    ip link add eth0 netns "$p-${host%%=*}" type veth peer name "${host%%=*}" netns "$p-$router"
    ip -n "$p-$router" link set "${host%%=*}" master lan up
    ip -n "$p-${host%%=*}" link set eth0 up
    world_address "$p" "${host%%=*}" eth0 "${host#*=}"
    world_route "$p" "${host%%=*}" "${gateway%/*}"
  done
  world_forward "$p" "$router"
  ip netns exec "$p-$router" nft -f - <<'RULES'
table inet house {
  chain translate {
    type nat hook postrouting priority srcnat
    oifname "wan" masquerade random,fully-random
  }
  chain forward {
    type filter hook forward priority filter; policy drop
    ct state established,related accept
    iifname "lan" accept
  }
  chain input {
    type filter hook input priority filter; policy drop
    ct state established,related accept
    meta l4proto ipv6-icmp accept
    iifname { "lan", "lo" } accept
  }
}
RULES
}

world_cable() { # from pub to another's `wan`
  ip link add "to-$3" netns "$1-$2" type veth peer name wan netns "$1-$3"
  ip -n "$1-$2" link set "to-$3" up
  ip -n "$1-$3" link set wan up
  world_address "$1" "$2" "to-$3" "$4"
  world_address "$1" "$3" wan "$5"
}

world_address() {
  if [[ $4 == *:* ]]; then ip -n "$1-$2" address add "$4" dev "$3" nodad; else ip -n "$1-$2" address add "$4" dev "$3"; fi
}

world_route() { ip -n "$1-$2" route add default via "$3"; }

world_nft() {
  local p=$1 host=$2
  shift 2
  ip netns exec "$p-$host" nft "$@"
}

world_forward() {
  ip netns exec "$1-$2" sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv6/conf/all/forwarding'
}
