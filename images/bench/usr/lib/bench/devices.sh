#!/bin/sh
# The guest's kernel devices in place of a Pi's: GPIO with the header's line names, a sound card, and the revision that
# gpiozero looks for.
set -eu
# On the console, which is kept when a box does not come back.
step() { echo "bench: $*" >/dev/console; }
step "GPIO"
modprobe configfs
# systemd mounts it at the same time.
mount -t configfs none /sys/kernel/config 2>/dev/null || grep -q configfs /proc/mounts
modprobe gpio-sim
sim=/sys/kernel/config/gpio-sim/callbox
mkdir -p "$sim/bank0"
echo 54 >"$sim/bank0/num_lines"
echo pinctrl-bcm2711 >"$sim/bank0/label"
for n in $(seq 2 27); do
    mkdir -p "$sim/bank0/line$n"
    echo "GPIO$n" >"$sim/bank0/line$n/name"
done
echo 1 >"$sim/live"
lines=/sys/devices/platform/$(cat "$sim/dev_name")/$(cat "$sim/bank0/chip_name")
for n in "$@"; do # contacts: open lines are pulled up, as on the board
    echo pull-up >"$lines/sim_gpio$n/pull"
done
held=$(sed -n 's/.*bench\.held=\([0-9,]*\).*/\1/p' /proc/cmdline)
for n in $(echo "$held" | tr , ' '); do # fingers that were on a button before the power came
    echo pull-down >"$lines/sim_gpio$n/pull"
done
step "network"
modprobe virtio_net
for _ in $(seq 300); do
    [ -e /sys/class/net/eth0 ] && break
    sleep 0.1
done
ip link set eth0 up
ip addr replace 10.0.2.15/24 dev eth0
step "sound"
modprobe snd-aloop index=0 id=Loopback pcm_substreams=2 || echo "no sound card: snd-aloop is not in this kernel"
{
    cat /proc/cpuinfo
    printf 'Hardware\t: BCM2835\nRevision\t: c03115\nSerial\t\t: 1000000012345678\nModel\t\t: Raspberry Pi 4 Model B Rev 1.5\n'
} >/run/cpuinfo
step "all devices are there"
