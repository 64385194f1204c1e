#!/bin/sh
# SPDX-License-Identifier: MIT
#
# The demo without a card, and the oracle that judges it: that they agree, and that the oracle notices
# whatever is wrong. Arguments: onpu-demo, onpu-oracle, the data set.
set -u
demo=$1 oracle=$2 digits=$3
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
failed=0

fail()
{
	echo "FAILED: $1" >&2
	failed=1
}

# What the oracle says about $tmp/$1 must be $2 (good or bad).
judge()
{
	if "$oracle" --digits "$digits" < "$tmp/$1" > "$tmp/verdict" 2>&1; then
		verdict=good
	else
		verdict=bad
	fi
	if [ "$verdict" != "$2" ]; then
		cat "$tmp/verdict" >&2
		fail "$1: the oracle says $verdict"
	fi
}

"$demo" --cpu --digits "$digits" -n 96 --full-check > "$tmp/run" 2> "$tmp/errors" ||
	fail "onpu-demo --cpu: $(cat "$tmp/errors")"
grep -q '^check: end$' "$tmp/run" || fail "no end"
[ "$(grep -c '^check: matmul' "$tmp/run")" = 4 ] || fail "not four products"
grep '^check:' "$tmp/run" > "$tmp/checks"
judge run good
judge checks good

# The same bits on every run.
"$demo" --cpu --digits "$digits" -n 96 | grep '^check:' > "$tmp/again"
cmp -s "$tmp/checks" "$tmp/again" || fail "two runs differ"

# One hexadecimal digit of each hash in turn; a missing end; lines that make no sense.
lines=$(grep -c hash= "$tmp/checks")
for line in $(seq "$lines"); do
	sed "${line}{s/0\$/1/;t;s/.\$/0/}" "$tmp/checks" > "$tmp/hash-$line"
	judge "hash-$line" bad
done
grep -v end "$tmp/checks" > "$tmp/no-end"
judge no-end bad
echo 'check: end' > "$tmp/nothing"
judge nothing bad
: > "$tmp/empty"
judge empty bad
sed 's/right=[0-9]*/right=359/' "$tmp/checks" > "$tmp/boast"
judge boast bad
sed 's/n=96/n=0/' "$tmp/checks" > "$tmp/zero"
judge zero bad
sed 's/n=96/n=4000000000/' "$tmp/checks" > "$tmp/huge"
judge huge bad
sed 's/type=f32/type=f64/' "$tmp/checks" > "$tmp/type"
judge type bad
sed 's/check: end/check: failed/' "$tmp/checks" > "$tmp/failed"
judge failed bad
{ cat "$tmp/checks"; echo 'check: gibberish'; } > "$tmp/gibberish"
judge gibberish bad
# What looks like a check in the middle of a long line is none, wherever a buffer ends.
for length in 6 1023 1024 2046 5000; do
	{ cat "$tmp/checks"; head -c $length /dev/zero | tr '\0' x; echo 'check: gibberish'; } > "$tmp/long"
	judge long good
done

# A data set that is none.
echo '1,2,3' > "$tmp/short.csv"
"$demo" --cpu --digits "$tmp/short.csv" --digits-only > /dev/null 2>&1 && fail "took three numbers"
sed 's/^0,/17,/' "$digits" > "$tmp/range.csv"
"$demo" --cpu --digits "$tmp/range.csv" --digits-only > /dev/null 2>&1 && fail "took a pixel of 17"
"$demo" --cpu --digits "$tmp/none.csv" --digits-only > /dev/null 2>&1 && fail "took no file"

# Too little training is a failure, and said so.
"$demo" --cpu --digits "$digits" --digits-only -e 1 > "$tmp/lazy" && fail "one epoch sufficed"
grep -q '^FAILED' "$tmp/lazy" || fail "failure not told"

for words in '--size 0' '--size 9x' '--repeats 33' '--epochs -1' '--nonsense' 'word'; do
	# shellcheck disable=SC2086 # words on purpose
	"$demo" --cpu $words > /dev/null 2>&1 && fail "took $words"
done
"$demo" --help | grep -q '^Usage: onpu-demo' || fail "no help"
"$oracle" --help | grep -q '^Usage: ' || fail "no help of the oracle"
exit $failed
