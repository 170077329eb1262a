# What a process here can do: a line for each thing, "name|what was found", in a box or elsewhere; needs perl, on x86-64.
# What it opens for writing it does not write. `scripts/audit-box` makes a table of it.
row() { set -- "$1" $2; name=$1; shift; printf '%s|%s\n' "$name" "${*:-none}"; }
field() { sed -n "s/^$1:[[:space:]]*//p" /proc/self/status; }
list() { tr '\n' ' ' | sed 's/ *$//'; }

# Namespaces: the first process of a pid namespace is number 1; initial namespaces have numbers that the kernel fixed.
own=
for pair in user:4026531837 mnt:4026531841 pid:4026531836 ipc:4026531839 uts:4026531838 cgroup:4026531835 net:4026531840 time:4026531834; do
    name=${pair%%:*}
    [ "$(readlink /proc/self/ns/$name)" = "$name:[${pair##*:}]" ] || own="$own $name"
done
row "namespaces of its own" "$own"
row "ids in its user namespace" "$(awk '{ n += $3 } END { print (n > 1 ? (n > 4000000000 ? "all" : "a range") : "one") }' /proc/self/uid_map)"

names="chown dac_override dac_read_search fowner fsetid kill setgid setuid setpcap linux_immutable net_bind_service net_broadcast net_admin
    net_raw ipc_lock ipc_owner sys_module sys_rawio sys_chroot sys_ptrace sys_pacct sys_admin sys_boot sys_nice sys_resource sys_time
    sys_tty_config mknod lease audit_write audit_control setfcap mac_override mac_admin syslog wake_alarm block_suspend audit_read
    perfmon bpf checkpoint_restore"
capabilities() {
    bits=$((0x$(field "$1"))) bit=0
    for name in $names; do
        [ $((bits >> bit & 1)) = 0 ] || echo "$name"
        bit=$((bit + 1))
    done | list
}
row "capabilities over its namespaces" "$(capabilities CapEff)"
row "capabilities that a program can still get" "$([ "$(field CapBnd)" = "$(field CapEff)" ] && echo "the same" || capabilities CapBnd)"
row "ambient and inheritable capabilities" "$(capabilities CapAmb)$(capabilities CapInh)"
row "seccomp" "$(case $(field Seccomp) in 0) echo none ;; 1) echo strict ;; 2) echo filter ;; esac)"
row "setuid programs and sudo work" "$([ "$(field NoNewPrivs)" = 0 ] && echo yes || echo no)"

# Calls with arguments that the kernel itself would have nothing against, or would find another fault with first.
refused=
allowed=
while read -r name number arguments; do
    case $(perl -e "my (\$b, \$s, \$r) = (\"\\0\" x 256, 'user', '/'); \$! = 0; my \$a = syscall($number, $arguments); print \$a == -1 ? \$! + 0 : 0" 2>/dev/null) in
        1 | 38) refused="$refused $name" ;;
        *) allowed="$allowed $name" ;;
    esac
done <<END
mount 165 0, 1, 0, 0, 0
umount2 166 0, -1
pivot_root 155 0, 0
open_tree 428 -100, \$r, 0
fsopen 430 0, 0
move_mount 429 -1, 0, -1, 0, 0
mount_setattr 442 -1, 0, 0, 0, 0
setns 308 -1, 0x10000000
unshare(NEWNS) 272 0x00020000
unshare(NEWUSER) 272 0x10000000
clone3 435 0, 0
bpf 321 7, \$b, 0
io_uring_setup 425 1, \$b
userfaultfd 323 1
perf_event_open 298 0, 0, -1, -1, 0
keyctl 250 0, -3, 1
add_key 248 \$s, \$s, \$s, 1, -2
request_key 249 \$s, \$s, 0, 0
kexec_load 246 0, 0, 0, 0
init_module 175 0, 0, 0
delete_module 176 0, 0
open_by_handle_at 304 -100, 0, 0
fanotify_init 300 0x200, 0
syslog 103 10, 0, 0
settimeofday 164 1, 0
clock_settime 227 0, 1
swapon 167 0, 0
reboot 169 0, 0, 0, 0
sethostname 170 0, -1
acct 163 0
quotactl 179 0, 0, 0, 0
iopl 172 3
ptrace 101 0x4206, 0, 0, 0
process_vm_readv 310 1, 0, 0, 0, 0, 0
personality 135 0x40000
END
row "system calls that are refused" "$refused"
row "of those asked, allowed" "$allowed"
ioctls=
for pair in TIOCSTI:0x5412 TIOCLINUX:0x541c TIOCSETD:0x5423; do
    [ "$(perl -e "my \$c = \"\\0\"; \$! = 0; syscall(16, 0, ${pair##*:}, \$c); print \$! + 0")" != 1 ] || ioctls="$ioctls ${pair%%:*}"
done
row "terminal requests that are refused" "$ioctls"
families=
for pair in UNIX:1 INET:2 INET6:10 NETLINK:16 PACKET:17 ALG:38 VSOCK:40 BLUETOOTH:31 XDP:44 RDS:21 TIPC:30; do
    perl -e "socket(my \$s, ${pair##*:}, ${pair##*:} == 17 ? 2 : ${pair##*:} == 16 ? 3 : 1, 0) or exit 1" 2>/dev/null && families="$families ${pair%%:*}"
done
row "socket families" "$families"

writable=
for path in $(find /proc/sys /proc/irq /proc/bus /proc/fs /proc/sysrq-trigger /proc/acpi /proc/scsi /sys -type f 2>/dev/null); do
    (: >>"$path") 2>/dev/null && writable="$writable $path"
done
row "writable below \`/proc\` (but for processes) and \`/sys\`" "$writable"
shown=
for path in /proc/kcore /proc/keys /proc/timer_list /proc/interrupts /proc/sched_debug /proc/latency_stats /proc/acpi /proc/asound /proc/scsi \
    /sys/firmware /sys/devices/virtual/powercap; do
    if [ -d "$path" ]; then found=$(ls -A "$path" 2>/dev/null); else found=$(head -c 1 "$path" 2>/dev/null | tr '\0' x); fi
    [ -z "$found" ] || shown="$shown $path"
done
row "the kernel's secrets that it can read" "$shown"

devices=
for path in /dev/* /dev/[!p]*/*; do
    [ -c "$path" ] || [ -b "$path" ] && devices="$devices ${path#/dev/}"
done
row "devices" "$devices"
made=
for node in 'c 1 1' 'b 8 0' 'c 10 200'; do
    mknod "/tmp/probe" $node 2>/dev/null
    [ -c /tmp/probe ] || [ -b /tmp/probe ] && made="$made ($node)"
    rm -f /tmp/probe
done
row "devices that it can make" "$made"
row "sockets in the file system" "$(find / -xdev -type s 2>/dev/null; find /run /tmp -type s 2>/dev/null | list)"
row "network interfaces" "$(ls /sys/class/net | list)"
row "processes that it sees" "$([ "$(head -c 12 /proc/1/cmdline)" = "devbox: init" ] && echo "its own" || echo "others")"
row "what it can read of pid 1" "$(for name in exe cwd root environ maps; do readlink /proc/1/$name >/dev/null 2>&1 || head -c 1 /proc/1/$name >/dev/null 2>&1 && echo $name; done | list)"
row "cgroups that it can change" "$(find /sys/fs/cgroup -name cgroup.procs 2>/dev/null | while read -r file; do (: >>"$file") 2>/dev/null && echo "$file"; done | list)"
row "setuid programs and devices in the project" "$(grep " $PWD " /proc/self/mountinfo | head -1 | grep -q 'nosuid.*nodev\|nodev.*nosuid' && echo "without effect" || echo "with effect")"
