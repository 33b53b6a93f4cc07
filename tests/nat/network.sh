# A test network in network namespaces, to be sourced: network_up and network_down, each with a name.
#
#  server 45.0.0.10, 2a05:d000::10                      a1  10.1.0.2 ─┐
#    │                                                  a2  10.1.0.3 ─┴─ ra 45.0.1.2 ─┐
#   pub (routes, knows no private address) ─────────────────────────────────────────────┤
#    b1  10.2.0.2            unrestricted    ┐                                          │
#    b2  10.2.0.3            TCP only        ├─ rb 45.0.2.2 ────────────────────────────┤
#    b3  10.2.0.4            TCP to 443 only ┘                                          │
#    c1  fd00:c::2 (no IPv4) ───────────────── rc 2a05:d003::2 ─────────────────────────┘
#
# The server runs on `server`. The routers ra, rb and rc are symmetric NATs (a new random port for every destination) and drop
# unsolicited packets, so hosts of two LANs cannot reach each other directly. Interfaces are created inside the
# namespaces; the machine's own network is not changed.
#
# network_cluster adds what several servers as one service need. Names come from a name server on `pub` then, which the tests
# start, because browsers take only the first address of a name from a hosts file.
#
#  box1 45.0.11.10, box2 45.0.12.10, box3 45.0.13.10 ─┐
#  store 45.0.20.10, .11, .12 ────────────────────────┴─ pub (45.0.0.1: the name server)

NETWORK_HOSTS=(pub server ra rb rc a1 a2 b1 b2 b3 c1)
NETWORK_BOXES=(box1 box2 box3)

network_up() {
  local p=$1 host
  for host in "${NETWORK_HOSTS[@]}"; do
    # There is no name server: only the server has a name.
    network_host "$p" "$host" 127.0.0.1 '45.0.0.10 box.test box.test.'
  done
  printf '127.0.0.1 localhost\n::1 localhost\n2a05:d000::10 box.test box.test.\n' >"/etc/netns/$p-c1/hosts"

  network_link "$p" pub server 45.0.0.1/24 45.0.0.10/24
  network_address "$p" pub to-server 2a05:d000::1/64
  network_address "$p" server wan 2a05:d000::10/64
  network_link "$p" pub ra 45.0.1.1/24 45.0.1.2/24
  network_link "$p" pub rb 45.0.2.1/24 45.0.2.2/24
  network_link "$p" pub rc 2a05:d003::1/64 2a05:d003::2/64
  network_default_route "$p" server 45.0.0.1
  network_default_route "$p" server 2a05:d000::1
  network_default_route "$p" ra 45.0.1.1
  network_default_route "$p" rb 45.0.2.1
  network_default_route "$p" rc 2a05:d003::1
  network_forwarding "$p" pub

  network_lan "$p" ra 10.1.0.1/24 a1=10.1.0.2/24 a2=10.1.0.3/24
  network_lan "$p" rb 10.2.0.1/24 b1=10.2.0.2/24 b2=10.2.0.3/24 b3=10.2.0.4/24
  network_lan "$p" rc fd00:c::1/64 c1=fd00:c::2/64
  network_nft "$p" rb insert rule inet nat forward ip saddr 10.2.0.3 meta l4proto != tcp drop
  network_nft "$p" rb insert rule inet nat forward ip saddr 10.2.0.4 tcp dport != 443 drop
  network_nft "$p" rb insert rule inet nat forward ip saddr 10.2.0.4 meta l4proto != tcp drop
}

# Adds the hosts of several boxes and of their store to a network that is up.
network_cluster() {
  local p=$1 host number=10
  for host in "${NETWORK_HOSTS[@]}"; do network_names "$p" "$host" 45.0.0.1; done
  for host in "${NETWORK_BOXES[@]}"; do
    number=$((number + 1))
    network_host "$p" "$host" 45.0.0.1
    network_link "$p" pub "$host" "45.0.$number.1/24" "45.0.$number.10/24"
    network_default_route "$p" "$host" "45.0.$number.1"
  done
  network_host "$p" store 45.0.0.1
  network_link "$p" pub store 45.0.20.1/24 45.0.20.10/24
  network_address "$p" store wan 45.0.20.11/24
  network_address "$p" store wan 45.0.20.12/24
  network_default_route "$p" store 45.0.20.1
}

# A host without interfaces but `lo`, with the address of its name server and lines for its hosts file.
network_host() {
  ip netns add "$1-$2"
  # Without duplicate address detection addresses work at once. An address that appears a second later is a network
  # change for a browser, which then aborts the page load in progress.
  ip netns exec "$1-$2" sh -c 'for which in all default; do echo 0 >"/proc/sys/net/ipv6/conf/$which/accept_dad"; done'
  ip -n "$1-$2" link set lo up
  mkdir -p "/etc/netns/$1-$2"
  network_names "$@"
}

network_names() {
  printf 'nameserver %s\noptions timeout:1 attempts:1\n' "$3" >"/etc/netns/$1-$2/resolv.conf"
  printf '127.0.0.1 localhost\n::1 localhost\n%s\n' "${4:-}" >"/etc/netns/$1-$2/hosts"
}

# Ends the processes that still run inside and removes the network; may be called at any point of network_up.
network_down() {
  local p=$1 host pids
  for host in "${NETWORK_HOSTS[@]}" "${NETWORK_BOXES[@]}" store; do
    [[ -e /run/netns/$p-$host ]] || continue
    pids=$(ip netns pids "$p-$host")
    # shellcheck disable=SC2086 # several numbers
    [[ -z $pids ]] || kill -KILL $pids 2>/dev/null || true
    ip netns del "$p-$host"
  done
  for host in "${NETWORK_HOSTS[@]}" "${NETWORK_BOXES[@]}" store; do rm -rf "/etc/netns/$p-$host"; done
  rmdir /etc/netns 2>/dev/null || true
}

# A LAN behind a router: a bridge `lan`, its hosts (NAME=ADDRESS …), NAT and a firewall.
network_lan() {
  local p=$1 router=$2 gateway=$3 host
  shift 3
  # A bridge without an address of its own takes the lowest one of its ports. A new port would change it, and the hosts
  # would send to the previous address for half a minute.
  ip -n "$p-$router" link add lan address 02:00:00:00:00:01 type bridge
  ip -n "$p-$router" link set lan up
  network_address "$p" "$router" lan "$gateway"
  for host in "$@"; do
    ip link add eth0 netns "$p-${host%%=*}" type veth peer name "${host%%=*}" netns "$p-$router"
    ip -n "$p-$router" link set "${host%%=*}" master lan up
    ip -n "$p-${host%%=*}" link set eth0 up
    network_address "$p" "${host%%=*}" eth0 "${host#*=}"
    network_default_route "$p" "${host%%=*}" "${gateway%/*}"
  done
  network_forwarding "$p" "$router"
  ip netns exec "$p-$router" nft -f - <<'RULES'
table inet nat {
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

# A link between pub and the `wan` interface of another host, with an address for each end.
network_link() {
  ip link add "to-$3" netns "$1-$2" type veth peer name wan netns "$1-$3"
  ip -n "$1-$2" link set "to-$3" up
  ip -n "$1-$3" link set wan up
  network_address "$1" "$2" "to-$3" "$4"
  network_address "$1" "$3" wan "$5"
}

network_address() {
  if [[ $4 == *:* ]]; then ip -n "$1-$2" address add "$4" dev "$3" nodad; else ip -n "$1-$2" address add "$4" dev "$3"; fi
}

network_default_route() { ip -n "$1-$2" route add default via "$3"; }

network_nft() {
  local p=$1 host=$2
  shift 2
  ip netns exec "$p-$host" nft "$@"
}

network_forwarding() {
  ip netns exec "$1-$2" sh -c 'echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv6/conf/all/forwarding'
}
