# SPDX-License-Identifier: MIT
# shellcheck shell=sh disable=SC2034,SC2154
# Sourced by the tests of accelctl: KTAP, and the checks. Sets: dir (scratch).
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
number=0 failed=0

result() { # GOOD NAME
	number=$((number + 1))
	if [ "$1" = 0 ]; then
		echo "ok $number - $2"
	else
		echo "not ok $number - $2"
		sed 's/^/# /' "$dir/out" "$dir/err" "$dir/why" 2>/dev/null
		failed=1
	fi
}

# json STATUS CHECK... -- ARGUMENT...: with --json, one document, this exit status, these
# members, and the text of an error on stderr only.
json() {
	want=$1
	shift
	set -- "$@" --end--
	checks=""
	while [ "$1" != -- ]; do
		checks="$checks '$1'"
		shift
	done
	shift
	arguments=""
	while [ "$1" != --end-- ]; do
		arguments="$arguments $1"
		shift
	done
	# shellcheck disable=SC2086
	"$accelctl" $arguments --json >"$dir/out" 2>"$dir/err"
	got=$?
	eval "'$jsoncheck' schema.name=accelctl schema.version=1 exit_status=$want $checks" \
		<"$dir/out" >"$dir/why"
	good=$?
	if [ "$got" != "$want" ]; then
		echo "exit status $got, wanted $want" >>"$dir/why"
		good=1
	fi
	if [ "$want" != 0 ] && ! grep -q '^accelctl: ' "$dir/err"; then
		echo "no text on stderr" >>"$dir/why"
		good=1
	fi
	result $good "--json$arguments"
}

# text STATUS PATTERN ARGUMENT...: without --json: exit status, and a line of either output.
text() {
	want=$1 pattern=$2
	shift 2
	: >"$dir/why"
	"$accelctl" "$@" >"$dir/out" 2>"$dir/err"
	got=$?
	good=0
	if [ "$got" != "$want" ]; then
		echo "exit status $got, wanted $want" >>"$dir/why"
		good=1
	fi
	if ! cat "$dir/out" "$dir/err" | grep -q -- "$pattern"; then
		echo "no line matches $pattern" >>"$dir/why"
		good=1
	fi
	result $good "$*"
}

# The same everywhere, card or not.
usage_cases() {
	text 0 "Usage: accelctl COMMAND" --help
	text 0 "Usage: accelctl COMMAND" help
	text 0 "Usage: accelctl list" list --help
	text 0 "Usage: accelctl info \[DEVICE\]" info -h
	text 0 "Usage: accelctl memory \[DEVICE\]" memory --help
	text 0 "Usage: accelctl selftest" selftest --help
	text 0 "--check\[=HOW\]" bench --help
	text 0 "^accelctl [0-9]" --version
	text 2 "no command"
	text 2 "unknown command" frobnicate
	text 2 "unknown option --nonsense" list --nonsense
	text 2 "unknown option -z" list -z
	text 2 "unexpected argument" list x
	text 2 "bench what" bench
	text 2 "bench what" bench conv
	text 2 "is none of f32" bench matmul --type f64
	text 2 "is no number" bench matmul -m 0
	text 2 "is no number" bench matmul -n -3
	text 2 "is no number" bench matmul -k 4294967296
	text 2 "is no number" bench matmul --iterations x
	text 2 "is none of sample" bench matmul --check=some
	text 2 "needs a value" bench matmul --type
	text 2 "is no number from 1" info --timeout 0
	text 2 "two devices" info 0 -d 1
	json 0 command=null help -- --help
	json 0 command=bench help -- bench --help
	json 0 version libaccel_version -- --version
	json 2 error.code=usage status=usage -- frobnicate
	json 2 error.code=usage command=list -- list --nonsense
	json 2 error.code=usage command=bench -- bench matmul -m x
}
