#!/bin/sh
# SPDX-License-Identifier: MIT
#
# onpu_faultinj once more, with memory that does not come back during the call: shows the errors
# of calls that make good a failure that happens once. It switches off the checks of the DMA API.
ONPU_FAULTINJ_FOR_GOOD=1 exec /tests/kselftest/onpu_faultinj -f inject
