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

# Every part of the matmul that can be asked for, each checked completely. Wants a card.
bench_cases() { # WRONG STATUS: what the check finds at least, and the exit status of that
	while read -r arguments; do
		# shellcheck disable=SC2086
		json "$2" result.seconds_median $1 -- bench matmul --iterations 1 --check=full $arguments
	done <<-END
		-m 9 -n 13 -k 20 --activation relu --alpha 0.7 --beta -1.5 --c-type bf16 --bias bf16
		-m 9 -n 13 -k 20 --activation gelu --row-scale --residual fp16 --trans-a
		-m 9 -n 13 -k 20 --activation gelu-tanh --col-scale --bias fp16 --pad 5
		-m 9 -n 13 -k 20 --activation silu --row-scale --col-scale --bias f32 --residual f32
		-m 5 -n 6 -k 7 --lda 9 --ldb 11 --ldd 13 --beta 2 --ldc 17 --residual bf16 --ldr 19
		--type bf16 --d-type bf16 -m 17 -n 23 -k 40 --trans-b
		--type fp16 --d-type fp16 -m 17 -n 23 -k 40 --d-scale
		--type e5m2 --d-type e5m2 -m 17 -n 23 -k 40 --d-scale=rows
		--type e4m3 --d-type e4m3 -m 17 -n 23 -k 40 --no-saturate --alpha 100
		--type mxfp4 --d-type e4m3 -m 17 -n 23 -k 40 --alpha 100
		--type int8 --d-type int8 -m 17 -n 23 -k 40 --d-scale=cols --d-zero
		--type int8 --b-type int4 --d-type f32 -m 17 -n 23 -k 40 --row-scale --col-scale
		--type bf16 --b-type int4 --b-group 32 --b-zero -m 20 -n 30 -k 100
		--type fp16 --b-type int8 --b-group 128 --b-scale-type bf16 --trans-b -m 20 -n 30 -k 300
		--batch 4 -m 10 -n 12 -k 33 --type mxfp8 --trans-b --batch-vectors --bias f32 --row-scale
		--batch 4 --batch-mode pointers -m 10 -n 12 -k 33 --type mxfp6 --d-type bf16 --residual f32
		--batch 4 --batch-mode grouped -m 25 -n 12 -k 33 --type mxfp8-e5m2 --d-scale=rows --d-type fp16
		--batch 4 --batch-mode grouped -m 25 -n 12 -k 64 --type bf16 --b-type int8 --b-group 64 --b-zero
		--batch 4 --batch-mode pointers -m 10 -n 12 -k 64 --type bf16 --b-type int4 --b-group 32 --share b
		--batch 3 --share a -m 10 -n 12 -k 33 --type int8 --accumulate --pad 4
		--batch 3 --batch-mode pointers --share ab -m 10 -n 12 -k 33 --accumulate
		--memory host -m 40 -n 30 -k 20 --type bf16
	END
}

# The same everywhere, card or not.
usage_cases() {
	text 0 "Usage: accelctl COMMAND" --help
	text 0 "Usage: accelctl COMMAND" help
	text 0 "Usage: accelctl list" list --help
	text 0 "Usage: accelctl info \[DEVICE\]" info -h
	text 0 "Usage: accelctl memory \[DEVICE\]" memory --help
	text 0 "Usage: accelctl ps \[DEVICE\]" ps --help
	text 0 "--interval SECONDS" monitor --help
	for interval in x 0 -1 0.01 3601 nan inf 1e9 ""; do
		text 2 "is no number from 0.05 to 3600" monitor --interval="$interval"
	done
	for count in x 0 -1 1x 99999999999; do
		text 2 "is no number from 1 to" monitor --count $count
	done
	text 2 "unknown option --all" monitor --all
	text 2 "needs a value" monitor --interval
	json 2 error.code=usage command=monitor -- monitor --count 0
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
	for sizes in 4:2 2:8:x1 2:8:+0 1:100:+1 8,,9 2:8:+2:x2; do
		text 2 "is no number from 1 to .*, nor FROM:TO" bench matmul -m $sizes
	done
	text 2 "is none of f32" bench matmul --type f32,f64
	text 2 "is none of none, relu" bench matmul --activation tanh
	text 2 "is none of none, strided" bench matmul --batch-mode items --batch 2
	text 2 "needs --batch" bench matmul --batch-mode grouped
	text 2 "is no number" bench matmul --alpha x
	text 2 "is none of one, rows" bench matmul --d-scale=all
	text 2 "is none of card, host" bench matmul --memory disk
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
