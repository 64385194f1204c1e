#!/bin/sh
# SPDX-License-Identifier: MIT
# The public header compiles alone, as C and C++ of every standard, with every compiler
# that is here, with all warnings as errors.
# header.sh HEADER
set -u
status=0 count=0
flags="-Wall -Wextra -Wpedantic -Werror -fsyntax-only -I$(dirname "$(dirname "$1")")"
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cat >"$dir/use.c" <<'END'
#include <accel/accel.h>
int main(void)
{
	struct accel_device_info info;
	struct accel_device_counters counters;
	struct accel_status status;
	struct accel_memory_info memory;
	struct accel_context_status context;
	struct accel_buffer_info buffer;
	struct accel_matmul matmul;

	accel_device_info_init(&info);
	accel_device_counters_init(&counters);
	accel_status_init(&status);
	accel_memory_info_init(&memory);
	accel_context_status_init(&context);
	accel_buffer_info_init(&buffer);
	accel_matmul_init(&matmul);
	return accel_device_count() < 0 || accel_version() != ACCEL_VERSION;
}
END
cp "$dir/use.c" "$dir/use.cc"

try() {
	count=$((count + 1))
	# shellcheck disable=SC2086
	"$@" $flags || { echo "failed: $*"; status=1; }
}

for cc in gcc clang; do
	command -v $cc >/dev/null || continue
	for std in c99 c11 gnu11 c17 gnu17; do
		try $cc -std=$std "$dir/use.c"
	done
done
for cxx in g++ clang++; do
	command -v $cxx >/dev/null || continue
	for std in c++11 c++14 c++17 gnu++17 c++20; do
		try $cxx -std=$std "$dir/use.cc"
	done
done
[ $count -gt 0 ] || { echo "no compiler"; exit 1; }
echo "$count compilations"
exit $status
