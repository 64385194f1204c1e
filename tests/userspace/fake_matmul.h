/* SPDX-License-Identifier: MIT */
/* Matmuls with all that a descriptor can ask for, by the scalar oracle (fake_matmul.c). */
#ifndef FAKE_MATMUL_H
#define FAKE_MATMUL_H

#include <stdbool.h>
#include <stdint.h>

#include <onpu/packet.h>

/* Moves bytes between the VM and data; false: faulted. */
typedef bool fake_access(void *queue, uint64_t va, void *data, uint64_t size, bool write);

/* 0, or enum onpu_queue_error (ONPU_ERR_FAULT when access failed). */
uint32_t fake_matmul(const struct onpu_matmul_desc *desc, fake_access *access, void *queue);

#endif
