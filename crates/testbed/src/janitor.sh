# Waits until the owner of a bed is gone, however it ended (its end of the pipe on standard input
# closes), then ends what still lives in the bed and removes it.
#
# $1 is the bed's directory. Each line on standard input is the id of a process group started there, or
# `netns NAME` or `link NAME`: a network namespace or interface that was made for the bed.
# A process is ended only if its working directory is inside the bed, and it belongs to one of those
# groups or is a program of Postgres: Patroni's Postgres runs in process groups of its own. A shell
# that a person opened in the bed is left alone.
trap '' HUP INT TERM
bed=$1
groups=' '
links= spaces=
while read -r word name; do
    case $word in
        link) links="$links $name" ;;
        netns) spaces="$spaces $name" ;;
        *) groups="$groups$word " ;;
    esac
done
# Where ip is, whatever the owner's PATH was.
PATH=$PATH:/usr/sbin:/sbin

# Signals every resident; true when there was none. Postgres gets $gentle, so that it releases its
# shared memory; nothing else here leaves anything behind.
sweep() {
    found=
    for link in $(find /proc -mindepth 2 -maxdepth 2 -name cwd -lname "$bed*" 2>/dev/null); do
        pid=${link#/proc/}
        pid=${pid%/cwd}
        program=$(readlink "/proc/$pid/exe") || continue
        { read -r stat <"/proc/$pid/stat"; } 2>/dev/null || continue
        # After the command's name in parentheses: state, parent, process group.
        set -- ${stat##*) }
        case "${program##*/}" in
            postgres*) signal=$gentle ;;
            pg_* | initdb*) signal=KILL ;;
            *) case "$groups" in *" $3 "*) signal=KILL ;; *) continue ;; esac ;;
        esac
        found=yes
        kill -"$signal" "$pid" 2>/dev/null
        # One that was stopped would keep the signal for later.
        kill -CONT "$pid" 2>/dev/null
    done
    [ -z "$found" ]
}

gentle=QUIT
rounds=0
until sweep || [ $rounds -ge 60 ]; do
    rounds=$((rounds + 1))
    [ $rounds -lt 30 ] || gentle=KILL
    sleep 0.1
done
for space in $spaces; do ip netns del "$space"; done 2>/dev/null
# A namespace takes its end of a link along, but in its own time.
for link in $links; do ip link del "$link"; done 2>/dev/null
rm -rf "$bed"
