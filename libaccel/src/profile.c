/* SPDX-License-Identifier: MIT */
/*
 * Profiles: when a submission ran on the card and how well it used it.
 *
 * Each packet of a profiled submission stores a stamp behind the submission's commands. When the
 * job is retired, and before that memory is used again, the stamps are summed up into the profile, which the
 * event shares. What the card is capable of comes from the driver's query.
 *
 * Locking: a profile is filled in once, under the queue's lock; ready is its release.
 */
#include "internal.h"

#include <stdlib.h>
#include <string.h>

struct profile {
	atomic_uint refs;
	atomic_bool ready;
	uint32_t queue;		/* of the kernel, for the trace */
	struct accel_profile result;
};

struct profile *profile_create(uint32_t queue)
{
	struct profile *profile = calloc(1, sizeof(*profile));

	if (profile) {
		atomic_init(&profile->refs, 1);
		atomic_init(&profile->ready, false);
		profile->queue = queue;
	}
	return profile;
}

void profile_get(struct profile *profile)
{
	atomic_fetch_add_explicit(&profile->refs, 1, memory_order_relaxed);
}

void profile_put(struct profile *profile)
{
	if (profile && atomic_fetch_sub(&profile->refs, 1) == 1)
		free(profile);
}

/* Peak of the cores, in operations per nanosecond. */
static double peak(const struct accel_device *device, uint32_t macs)
{
	return 2e-6 * macs * device->caps.cores * device->caps.core_clock_khz;
}

static double larger(double a, double b)
{
	return a > b ? a : b;
}

static double percent(double part, double whole)
{
	return whole > 0 ? 100 * part / whole : 0;
}

/* Roofs, and what became of them. */
static void rate(struct accel_profile *p, const struct drm_onpu_query_engines *engines)
{
	double time = (double)(p->end_ns - p->start_ns), roof = 0;
	uint64_t host = p->host_read_bytes > p->host_write_bytes ? p->host_read_bytes :
								    p->host_write_bytes;

	p->memory_roof_ns = 1e9 * (double)p->memory_bytes / (double)engines->vram_bandwidth;
	p->host_roof_ns = 1e9 * (double)host / (double)engines->host_bandwidth;
	roof = larger(p->compute_roof_ns, larger(p->memory_roof_ns, p->host_roof_ns));
	/* The cores' own time, which counts what tiles leave unused, may be more than any roof. */
	if (larger(roof, (double)p->cores_ns) < (double)p->operations * engines->packet_ns)
		p->bound = ACCEL_BOUND_OVERHEAD;
	else if (larger(p->memory_roof_ns, p->host_roof_ns) <= larger(p->compute_roof_ns, (double)p->cores_ns))
		p->bound = ACCEL_BOUND_COMPUTE;
	else
		p->bound = p->memory_roof_ns >= p->host_roof_ns ? ACCEL_BOUND_MEMORY : ACCEL_BOUND_HOST;
	p->ops_per_second = time > 0 ? 1e9 * (double)p->ops / time : 0;
	p->roof_ops_per_second = roof > 0 ? 1e9 * (double)p->ops / roof : 0;
	p->utilisation = percent(p->compute_roof_ns, time);
	p->memory_utilisation = percent(p->memory_roof_ns, time);
	p->host_utilisation = percent(p->host_roof_ns, time);
	p->roofline = percent(roof, time);
}

void profile_fill(struct profile *profile, const struct accel_device *device,
		  const struct onpu_stamp *stamps, unsigned int count)
{
	struct accel_profile *p = &profile->result;

	accel_profile_init(p);
	p->operations = count;
	for (unsigned int i = 0; i < count; i++) {
		/* Command memory may be the card's: read it once. */
		const struct onpu_stamp s = stamps[i];

		if (!i || s.start < p->start_ns)
			p->start_ns = s.start;
		if (s.end > p->end_ns)
			p->end_ns = s.end;
		p->ops += s.ops;
		p->memory_bytes += s.vram_bytes;
		p->host_read_bytes += s.host_read_bytes;
		p->host_write_bytes += s.host_write_bytes;
		p->cores_ns += s.cores_ns;
		if (s.macs)
			p->compute_roof_ns += (double)s.ops / peak(device, s.macs);
	}
	rate(p, &device->engines);
	trace_packets(device, profile->queue, stamps, count);
	atomic_store_explicit(&profile->ready, true, memory_order_release);
}

int accel_queue_set_profiling(struct accel_queue *queue, int on)
{
	int ret;

	api_begin(__func__);
	ret = queue_check(queue);
	if (ret)
		return ret;
	if (on && (!queue->context->device->engines.vram_bandwidth ||
		   !queue->context->device->engines.host_bandwidth))
		return fail(-ENOTSUP, "the card or its driver does not tell when work ran");
	atomic_store(&queue->profiling, on != 0);
	return 0;
}

int accel_event_get_profile(struct accel_event *event, struct accel_profile *profile)
{
	struct accel_queue *queue;
	int ret;

	api_begin(__func__);
	if (!event || !profile)
		return fail(-EINVAL, "%s is NULL", event ? "profile" : "event");
	queue = event->queue;
	ret = device_check(queue->context->device);
	if (ret)
		return ret;
	if (!event->profile)
		return fail(-EINVAL, "the work was submitted without profiling");
	if (queue_done(queue) < event->point) {
		ret = queue_wait_over(queue, event->point, 0, false);
		if (ret == -ETIME && queue_done(queue) < event->point)
			return fail(-EBUSY, "not done yet");
		ret = queue_wait(queue, event->point, 0);
		if (ret)
			return ret;
	}
	if (!atomic_load_explicit(&event->profile->ready, memory_order_acquire)) {
		pthread_mutex_lock(&queue->lock);
		queue_retire_locked(queue, queue_done(queue));
		pthread_mutex_unlock(&queue->lock);
	}
	if (!atomic_load_explicit(&event->profile->ready, memory_order_acquire))
		return fail(-EIO, "the queue's memory was lost");
	return copy_out(profile, &event->profile->result, sizeof(event->profile->result),
			sizeof(event->profile->result), "accel_profile");
}
