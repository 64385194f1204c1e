/* SPDX-License-Identifier: MIT */
/*
 * Finding, describing and opening cards.
 */
#include "common.h"

static int cards(void **state)
{
	(void)state;
#ifdef ACCEL_TEST_FAKE
	fake_set_cards(3);
#endif
	return 0;
}

static void count_and_order(void **state)
{
	struct accel_device_info before, info;
	int count = accel_device_count();

	(void)state;
	assert_true(count >= 1);
	for (int i = 0; i < count; i++) {
		accel_device_info_init(&info);
		ok(accel_device_list_info((unsigned int)i, &info));
		assert_int_equal(info.status, 0);
		assert_string_equal(info.driver_name, "onpu");
		assert_int_equal(info.size, sizeof(info));
		assert_true(info.vendor_id && info.device_id);
		if (i)
			assert_true(strcmp(before.pci_address, info.pci_address) < 0);
		before = info;
	}
	accel_device_info_init(&info);
	fails(accel_device_list_info((unsigned int)count, &info), -ENODEV);
	expect_detail("accel_device_list_info: no card");
}

static void info(void **state)
{
	struct accel_device_info info;

	(void)state;
	accel_device_info_init(&info);
	ok(accel_device_list_info(0, &info));
	assert_true(info.cores > 0 && info.slots > 0 && info.dim_max >= 1024);
	assert_true(info.memory_size >= 16 << 20 && info.memory_used <= info.memory_size);
	for (uint32_t type = 0; type < 32; type++) {
		bool in = accel_type_bits(type) && type != ACCEL_TYPE_I32;
		bool out = type && (type <= ACCEL_TYPE_I32 || type == ACCEL_TYPE_E4M3 || type == ACCEL_TYPE_E5M2);

		assert_int_equal(info.types_in >> type & 1, in);
		assert_int_equal(info.types_out >> type & 1, out);
	}
	assert_true(info.contexts_max && info.queues_max && info.buffer_size_max);
	assert_non_null(strchr(info.pci_address, ':'));
	assert_int_equal(strncmp(info.node, "/dev/accel/", 11), 0);
}

/* An older and a newer program than the library. */
static void info_sizes(void **state)
{
	struct { struct accel_device_info info; uint64_t later[2]; } newer;
	struct accel_device_info info;

	(void)state;
	memset(&info, 0, sizeof(info));
	fails(accel_device_list_info(0, &info), -EINVAL);
	expect_detail("sizeof(struct accel_device_info)");
	info.size = sizeof(info) - 8;
	fails(accel_device_list_info(0, &info), -EINVAL);
	fails(accel_device_list_info(0, NULL), -EINVAL);
	memset(&newer, 0xff, sizeof(newer));
	newer.info.size = sizeof(newer);
	ok(accel_device_list_info(0, &newer.info));
	assert_int_equal(newer.info.size, sizeof(newer));
	assert_true(!newer.later[0] && !newer.later[1]);
}

static void open_by_name(void **state)
{
	struct accel_device_info listed, opened;
	struct accel_device *device;
	const char *names[4];

	(void)state;
	accel_device_info_init(&listed);
	ok(accel_device_list_info(0, &listed));
	names[0] = listed.pci_address;
	names[1] = listed.node;
	names[2] = "0";
	names[3] = strncmp(listed.pci_address, "0000:", 5) ? "0" : listed.pci_address + 5;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		ok(accel_device_open_name(names[i], &device));
		accel_device_info_init(&opened);
		ok(accel_device_get_info(device, &opened));
		assert_string_equal(opened.pci_address, listed.pci_address);
		assert_string_equal(opened.node, listed.node);
		assert_int_equal(opened.serial, listed.serial);
		assert_int_equal(opened.memory_size, listed.memory_size);
		accel_device_close(device);
	}
}

static void open_errors(void **state)
{
	static const struct { const char *name; int error; } names[] = {
		{ "", -EINVAL }, { "x", -EINVAL }, { "-1", -EINVAL }, { "0x", -EINVAL },
		{ "00:04", -EINVAL }, { "0000:00:04.0 ", -EINVAL }, { "99999999999", -EINVAL },
		{ "ffff:ff:1f.7", -ENODEV }, { "/dev/null", -ENODEV }, { "/dev/accel/accel99", -ENODEV },
		{ "4000", -ENODEV },
	};
	struct accel_device *untouched = (struct accel_device *)state, *device = untouched;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		fails(accel_device_open_name(names[i].name, &device), names[i].error);
		expect_detail("accel_device_open_name: ");
	}
	fails(accel_device_open_name(NULL, &device), -EINVAL);
	fails(accel_device_open(1000, &device), -ENODEV);
	assert_ptr_equal(device, untouched);
	fails(accel_device_open(0, NULL), -EINVAL);
	fails(accel_device_get_info(NULL, NULL), -EINVAL);
	fails(accel_device_get_counters(NULL, NULL), -EINVAL);
	accel_device_close(NULL);
}

static void counters(void **state)
{
	struct accel_device_counters before, after;
	struct fixture f = { 0 };
	struct accel_buffer *buffer;

	(void)state;
	ok(accel_device_open(0, &f.device));
	ok(accel_context_create(f.device, 0, &f.context));
	ok(accel_queue_create(f.context, ACCEL_PRIORITY_LOW, &f.queue));
	buffer = make_buffer(&f, 4096, ACCEL_BUFFER_CARD);
	accel_device_counters_init(&before);
	accel_device_counters_init(&after);
	ok(accel_device_get_counters(f.device, &before));
	ok(accel_fill(f.queue, buffer, 0, 4096, 1));
	ok(accel_device_get_counters(f.device, &after));
	assert_true(after.packets > before.packets);
	assert_true(after.copy_bytes >= before.copy_bytes + 4096);
	before.size = 4;
	fails(accel_device_get_counters(f.device, &before), -EINVAL);
	accel_buffer_destroy(buffer);
	accel_queue_destroy(f.queue);
	accel_context_destroy(f.context);
	accel_device_close(f.device);
}

static void context_errors(void **state)
{
	struct accel_context *contexts[4096], *one;
	struct accel_device *device;
	int count = 0, ret;

	(void)state;
	ok(accel_device_open(0, &device));
	fails(accel_context_create(device, 1, &one), -EINVAL);
	fails(accel_context_create(device, 0, NULL), -EINVAL);
	fails(accel_context_create(NULL, 0, &one), -EINVAL);
	/* All that the card has, then one too many. */
	do {
		ret = accel_context_create(device, 0, &contexts[count]);
		count += !ret;
	} while (!ret && count < (int)ARRAY_SIZE(contexts));
	assert_int_equal(ret, -ENOSPC);
	expect_detail("accel_context_create: ");
	assert_true(count >= 1);
	while (count)
		accel_context_destroy(contexts[--count]);
	ok(accel_context_create(device, 0, &one));
	accel_context_destroy(one);
	accel_context_destroy(NULL);
	accel_device_close(device);
}

static void types(void **state)
{
	(void)state;
	assert_int_equal(accel_type_size(ACCEL_TYPE_F32), 4);
	assert_int_equal(accel_type_size(ACCEL_TYPE_BF16), 2);
	assert_int_equal(accel_type_size(ACCEL_TYPE_F16), 2);
	assert_int_equal(accel_type_size(ACCEL_TYPE_I8), 1);
	assert_int_equal(accel_type_size(ACCEL_TYPE_I32), 4);
	assert_int_equal(accel_type_size(0), 0);
	assert_int_equal(accel_type_size(UINT32_MAX), 0);
	assert_string_equal(accel_type_name(ACCEL_TYPE_BF16), "bf16");
	assert_null(accel_type_name(0));
	assert_int_equal(accel_type_size(ACCEL_TYPE_E4M3), 1);
	assert_int_equal(accel_type_size(ACCEL_TYPE_I4), 0);
	assert_int_equal(accel_type_bits(ACCEL_TYPE_I4), 4);
	assert_int_equal(accel_type_bits(ACCEL_TYPE_MXFP6_E3M2), 6);
	assert_int_equal(accel_type_bits(14), 0);
	assert_string_equal(accel_type_name(ACCEL_TYPE_MXFP4_E2M1), "mxfp4_e2m1");
	assert_null(accel_type_name(14));
	assert_int_equal(accel_version(), ACCEL_VERSION);
	assert_non_null(accel_error_detail());
}

#ifdef ACCEL_TEST_FAKE
static void no_cards(void **state)
{
	struct accel_device *device;

	(void)state;
	fake_set_cards(0);
	assert_int_equal(accel_device_count(), 0);
	fails(accel_device_open(0, &device), -ENODEV);
	expect_detail("no card 0: the driver has 0 cards");
}

/* A card that cannot be opened is still listed. */
static void not_permitted(void **state)
{
	struct accel_device_info info;
	struct accel_device *device;

	(void)state;
	fake_fail_open(-EACCES);
	accel_device_info_init(&info);
	ok(accel_device_list_info(0, &info));
	assert_int_equal(info.status, -EACCES);
	assert_int_equal(info.vendor_id, 0x1b36);
	assert_int_equal(info.cores, 0);
	fails(accel_device_open(0, &device), -EACCES);
	expect_detail("cannot open /dev/accel/accel");
	fake_fail_open(0);
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(count_and_order, cards),
		cmocka_unit_test_setup(info, cards),
		cmocka_unit_test_setup(info_sizes, cards),
		cmocka_unit_test_setup(open_by_name, cards),
		cmocka_unit_test_setup(open_errors, cards),
		cmocka_unit_test_setup(counters, cards),
		cmocka_unit_test_setup(context_errors, cards),
		cmocka_unit_test(types),
#ifdef ACCEL_TEST_FAKE
		cmocka_unit_test_setup(no_cards, cards),
		cmocka_unit_test_setup(not_permitted, cards),
#endif
	};

	return run_group("devices", tests);
}
