// SPDX-License-Identifier: MIT
//
// The header in C++, against the library, on the card.
#include <accel/accel.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <vector>

namespace {

int number;

void check(bool good, const char *what)
{
	std::printf("%sok %d - %s\n", good ? "" : "not ", ++number, what);
	if (!good) {
		std::printf("# %s\n", accel_error_detail());
		std::exit(1);
	}
}

template <typename T, void (*destroy)(T *)>
struct Destroy {
	void operator()(T *object) const { destroy(object); }
};

template <typename T, void (*destroy)(T *)>
using Handle = std::unique_ptr<T, Destroy<T, destroy>>;

using Buffer = Handle<accel_buffer, accel_buffer_destroy>;

Buffer make(accel_context *context, const std::vector<float> &values)
{
	accel_buffer *buffer = nullptr;

	check(!accel_buffer_create(context, values.size() * sizeof(float), ACCEL_BUFFER_CARD, &buffer) &&
	      !accel_buffer_write(buffer, 0, values.data(), values.size() * sizeof(float)), "buffer");
	return Buffer(buffer);
}

} // namespace

int main()
{
	accel_device *device = nullptr;
	accel_context *context = nullptr;
	accel_queue *queue = nullptr;
	struct accel_matmul p;
	std::vector<float> result(4);

	std::printf("1..7\n");
	check(!accel_device_open(0, &device), "device");
	Handle<accel_device, accel_device_close> device_handle(device);
	check(!accel_context_create(device, 0, &context), "context");
	Handle<accel_context, accel_context_destroy> context_handle(context);
	check(!accel_queue_create(context, ACCEL_PRIORITY_MEDIUM, &queue), "queue");
	Handle<accel_queue, accel_queue_destroy> queue_handle(queue);

	Buffer a = make(context, { 1, 2, 3, 4 }), b = make(context, { 5, 6, 7, 8 });
	Buffer d = make(context, { 0, 0, 0, 0 });
	accel_matmul_init(&p);
	p.m = p.n = p.k = 2;
	p.a.buffer = a.get();
	p.a.type = ACCEL_TYPE_F32;
	p.b.buffer = b.get();
	p.d.buffer = d.get();
	check(!accel_matmul(queue, &p) && !accel_buffer_read(d.get(), 0, result.data(), 16) &&
	      result == std::vector<float>({ 19, 22, 43, 50 }), "matmul");
	return 0;
}
