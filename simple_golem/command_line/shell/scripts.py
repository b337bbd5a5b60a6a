"""What runs on the machine: small scripts for any `/bin/sh`.

An exe-unit runs one batch after the other, and can't end a command of a batch. So a line runs in the
background, with its output in a file. Batches that take a second at most read this file, and a batch between
them can end the line. Files of a line: `N.out`, its output; `N.pid`, its process group; `N.folder`, where it
has ended, and the folder before; `N.code`, its exit code.
"""

from __future__ import annotations

# The exit code of BEGIN where there is no such working folder: one that no shell has for something else.
NO_SUCH_FOLDER = 97

# Prints the folder for these files, and the working folder. A volume has more room than /tmp.
PREPARE = """
for folder in /golem/work /golem/output /golem/input /tmp /var/tmp "$PWD"; do
  if [ -d "$folder" ] && mkdir -p "$folder/.simple-golem-shell" 2>/dev/null; then
    echo "$folder/.simple-golem-shell"; pwd; exit 0
  fi
done
echo "no folder can be written to" >&2; exit 1
"""

# $1: the files, $2: the working folder, $3: the one before it, for `cd -`, or nothing, $4: the line, $5: the
# exit code of the line before, for `$?`, $6: where `cd` goes if the machine has no HOME. `setsid` makes a
# process group, so that all processes of the line can be ended. Those that go on in the background
# keep their files, which have no name any more. No folder's name has a NUL byte: it stands between the two.
_LINE = (
    'echo $$ >"$1.pid"; _files=$1 OLDPWD=$2 _line=$3 _code=$4 _home=$5; shift 5; '
    '[ "$OLDPWD" ] || unset OLDPWD; '
    """trap '{ pwd 2>/dev/null; printf "\\0%s" "${OLDPWD-}"; } >"$_files.folder"' EXIT; """
    """: "${HOME:=$_home}"; (exit "$_code"); eval "$_line\""""
)
BEGIN = f"""
mkdir -p "${{1%/*}}" && rm -f "${{1%/*}}"/*
cd "$2" || exit {NO_SUCH_FOLDER}
true >"$1.out" || exit 125
apart=$(command -v setsid)
_line='{_LINE.replace("'", "'" + chr(92) + "''")}'
( $apart /bin/sh -c "$_line" sh "$1" "$3" "$4" "$5" "$6"; echo $? >"$1.new"; mv "$1.new" "$1.code" ) \\
  >>"$1.out" 2>&1 </dev/null &
"""

# $1: the files, $2: how many bytes of output were read, $3: how many are read at most, $4: how many tenths
# of a second to wait for something new. Prints the size of the output, the exit code or `-`, and the size of
# what is in `N.folder`; then that, and then the output.
FOLLOW = """
[ -e "$1.out" ] || { echo "0 lost 0"; exit 0; }
left=$4
while :; do
  code=-; [ -s "$1.code" ] && read -r code <"$1.code"
  size=$(wc -c <"$1.out")
  [ "$code" != - ] || [ "$((size))" -gt "$2" ] || [ "$left" -le 0 ] && break
  left=$((left - 1)); sleep 0.1 2>/dev/null || sleep 1
done
folder=0; [ -s "$1.folder" ] && folder=$(wc -c <"$1.folder")
echo "$((size)) $code $((folder))"
[ "$((folder))" = 0 ] || head -c "$((folder))" "$1.folder"
tail -c "+$(($2 + 1))" "$1.out" | head -c "$3"
"""

# $1: the files, $2: the signal.
END = """
left=20
while [ ! -s "$1.pid" ] && [ ! -s "$1.code" ] && [ "$left" -gt 0 ]; do
  left=$((left - 1)); sleep 0.1 2>/dev/null || sleep 1
done
[ -s "$1.code" ] && exit 0
read -r group <"$1.pid" || exit 1
kill -s "$2" -- "-$group" 2>/dev/null || kill -s "$2" "$group"
"""
