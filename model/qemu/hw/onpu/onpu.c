/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * ONPU accelerator card: the PCI shell around the card model.
 *
 * The card itself (registers, MMU, queues, matmul engine, firmware controller)
 * is the library in core/, which knows nothing of QEMU. This file gives it a
 * PCI function and the services of struct onpu_host_ops.
 *
 * Locking. Everything QEMU calls here holds the BQL. The card's own threads
 * call the host ops without it and must never wait for it, because a reset
 * waits for those threads with the BQL held. Hence:
 *  - interrupts are collected in a bitmap and sent by a bottom half; a caller
 *    that holds the BQL already sends its own at once;
 *  - host memory is mapped off the lock only when no IOMMU stands in front of
 *    the card and the target is plain RAM: then translation is a walk of an
 *    RCU-protected FlatView and nothing can be dispatched to. An emulated
 *    IOMMU may raise its fault interrupt from the walk, which needs the BQL,
 *    so with one the request goes to a bottom half (onpu_dma_bh);
 *  - a mapping keeps a reference on its memory region; ending it marks the
 *    pages dirty, which needs RCU and page locks only.
 */
#include "qemu/osdep.h"
#include "qemu/bitops.h"
#include "qemu/cutils.h"
#include "qemu/log.h"
#include "qemu/main-loop.h"
#include "qemu/module.h"
#include "qemu/rcu.h"
#include "qemu/timer.h"
#include "qemu/units.h"
#include "qapi/error.h"
#include "exec/address-spaces.h"
#include "exec/memory.h"
#include "hw/pci/msix.h"
#include "hw/pci/pci_device.h"
#include "hw/pci/pcie.h"
#include "hw/qdev-properties.h"
#include "migration/vmstate.h"
#include "system/runstate.h"
#include "qom/object.h"
#include "trace.h"

#include "onpu_model.h"
#include "onpu/regs.h"

#define TYPE_ONPU "onpu"
OBJECT_DECLARE_SIMPLE_TYPE(OnpuState, ONPU)

#define ONPU_VRAM_MIN (16 * MiB)
#define ONPU_CAP_AER 0x100
#define ONPU_CAP_SERIAL 0x150

typedef struct OnpuDma {
    struct onpu_dma_req *req;
    QSIMPLEQ_ENTRY(OnpuDma) next;
} OnpuDma;

struct OnpuState {
    PCIDevice parent_obj;

    MemoryRegion regs;
    MemoryRegion vram;          /* card memory, a RAM block */
    MemoryRegion aperture;      /* BAR2: power-of-two container */
    MemoryRegion aperture_ram;  /* alias of the visible part of vram */

    struct onpu_card *card;
    struct onpu_card_config config;
    VMChangeStateEntry *vmstate;
    bool iommu;                 /* an IOMMU translates the card's DMA */
    bool parked;

    uint64_t irq_pending;       /* bit per vector, atomic */
    QEMUBH *irq_bh;
    QEMUBH *reset_bh;
    QEMUBH *dma_bh;
    QemuMutex dma_lock;         /* protects dma_queue */
    QSIMPLEQ_HEAD(, OnpuDma) dma_queue;

    /* migrated state of the model */
    uint32_t state_size;
    uint8_t *state;

    /* properties */
    uint64_t vram_size;
    uint64_t aperture_size;
    uint64_t serial;
    uint32_t slots;
    uint32_t queues;
    uint32_t contexts;
    uint32_t vectors;
    int32_t threads;
    uint32_t min_svn;
    bool dev_key;
    bool doorbell_inline;
    char *isa;
    struct onpu_speed speed;
};

/* --- services that the card calls, any thread ------------------------------ */

static void onpu_rcu_leave(void *unused)
{
    rcu_unregister_thread();
}

/*
 * The card's threads are plain pthreads: QEMU's RCU must know them before
 * they read a FlatView, and forget them when they end.
 */
static void onpu_rcu_join(void)
{
    static pthread_key_t key;
    static gsize once;
    static __thread bool joined;

    if (joined || bql_locked()) {
        return;
    }
    if (g_once_init_enter(&once)) {
        pthread_key_create(&key, onpu_rcu_leave);
        g_once_init_leave(&once, 1);
    }
    rcu_register_thread();
    pthread_setspecific(key, &key);
    joined = true;
}

static uint64_t onpu_time_ns(void *opaque)
{
    return qemu_clock_get_ns(QEMU_CLOCK_VIRTUAL);
}

/* Under RCU. Succeeds for RAM that CPUs and devices may access directly. */
static int onpu_map_ram(OnpuState *s, uint64_t addr, uint64_t len, bool write,
                        struct onpu_hostmap *map)
{
    AddressSpace *as = pci_get_address_space(PCI_DEVICE(s));
    hwaddr xlat, plen = len;
    MemoryRegion *mr;

    mr = address_space_translate(as, addr, &xlat, &plen, write,
                                 MEMTXATTRS_UNSPECIFIED);
    if (!plen || !memory_access_is_direct(mr, write, MEMTXATTRS_UNSPECIFIED)) {
        trace_onpu_dma_fault(s, addr, len, write);
        return -EFAULT;
    }
    memory_region_ref(mr);
    map->ptr = (uint8_t *)memory_region_get_ram_ptr(mr) + xlat;
    map->len = MIN(plen, len);
    map->write = write;
    map->cookie = NULL;
    trace_onpu_dma_map(s, addr, map->len, write);
    return 0;
}

static int onpu_dma_try_map(void *opaque, uint64_t addr, uint64_t len,
                            bool write, struct onpu_hostmap *map)
{
    OnpuState *s = opaque;

    if (s->iommu) {
        return -EAGAIN;
    }
    onpu_rcu_join();
    RCU_READ_LOCK_GUARD();
    return onpu_map_ram(s, addr, len, write, map);
}

static void onpu_dma_unmap(void *opaque, const struct onpu_hostmap *map)
{
    OnpuState *s = opaque;

    onpu_rcu_join();
    /* The region is RAM, so this marks it dirty and drops the reference. */
    address_space_unmap(pci_get_address_space(PCI_DEVICE(s)), map->ptr,
                        map->len, map->write, map->len);
}

static void onpu_dma_request(void *opaque, struct onpu_dma_req *req)
{
    OnpuState *s = opaque;
    OnpuDma *dma = g_new0(OnpuDma, 1);

    dma->req = req;
    WITH_QEMU_LOCK_GUARD(&s->dma_lock) {
        QSIMPLEQ_INSERT_TAIL(&s->dma_queue, dma, next);
    }
    qemu_bh_schedule(s->dma_bh);
}

static struct onpu_dma_req *onpu_dma_pop(OnpuState *s)
{
    struct onpu_dma_req *req = NULL;
    OnpuDma *dma;

    QEMU_LOCK_GUARD(&s->dma_lock);
    dma = QSIMPLEQ_FIRST(&s->dma_queue);
    if (dma) {
        QSIMPLEQ_REMOVE_HEAD(&s->dma_queue, next);
        req = dma->req;
        g_free(dma);
    }
    return req;
}

/* Under the BQL: the walk may fault in an emulated IOMMU. */
static void onpu_dma_bh(void *opaque)
{
    OnpuState *s = opaque;
    struct onpu_dma_req *req;

    while ((req = onpu_dma_pop(s))) {
        WITH_RCU_READ_LOCK_GUARD() {
            req->status = onpu_map_ram(s, req->addr, req->len, req->write,
                                       &req->map);
        }
        onpu_card_dma_done(s->card, req);
    }
}

static void onpu_dma_drain(OnpuState *s)
{
    struct onpu_dma_req *req;

    while ((req = onpu_dma_pop(s))) {
        req->status = -EFAULT;
        onpu_card_dma_done(s->card, req);
    }
}

static void onpu_send_irqs(OnpuState *s)
{
    uint64_t pending = qatomic_xchg(&s->irq_pending, 0);

    while (pending) {
        msix_notify(PCI_DEVICE(s), ctz64(pending));
        pending &= pending - 1;
    }
}

static void onpu_irq_bh(void *opaque)
{
    onpu_send_irqs(opaque);
}

static void onpu_irq(void *opaque, unsigned int vector)
{
    OnpuState *s = opaque;

    if (vector >= s->vectors) {
        return;
    }
    qatomic_or(&s->irq_pending, BIT_ULL(vector));
    if (bql_locked()) {
        onpu_send_irqs(s);
    } else {
        qemu_bh_schedule(s->irq_bh);
    }
}

static void G_GNUC_PRINTF(2, 0)
onpu_guest_error(void *opaque, const char *fmt, va_list ap)
{
    g_autofree char *what = g_strdup_vprintf(fmt, ap);

    trace_onpu_guest_error(opaque, what);
    qemu_log_mask(LOG_GUEST_ERROR, "onpu: %s\n", what);
}

static void onpu_reset_request(void *opaque)
{
    OnpuState *s = opaque;

    qemu_bh_schedule(s->reset_bh);
}

static void onpu_trace(void *opaque, unsigned int event, uint64_t a,
                       uint64_t b, uint64_t c)
{
    switch (event) {
    case ONPU_TRACE_DOORBELL:
        trace_onpu_doorbell(opaque, a, b, c);
        break;
    case ONPU_TRACE_PACKET:
        trace_onpu_packet(opaque, a, b, c);
        break;
    case ONPU_TRACE_MATMUL:
        trace_onpu_matmul(opaque, a, b, c);
        break;
    case ONPU_TRACE_FAULT:
        trace_onpu_fault(opaque, a, b, c);
        break;
    case ONPU_TRACE_SLOT:
        trace_onpu_slot(opaque, a, b, c);
        break;
    case ONPU_TRACE_IRQ:
        trace_onpu_irq(opaque, a);
        break;
    case ONPU_TRACE_MBOX:
        trace_onpu_mbox(opaque, a);
        break;
    case ONPU_TRACE_BOOT:
        trace_onpu_boot(opaque, a);
        break;
    case ONPU_TRACE_RESET:
        trace_onpu_reset(opaque, a, b);
        break;
    }
}

static const struct onpu_host_ops onpu_ops = {
    .time_ns = onpu_time_ns,
    .dma_try_map = onpu_dma_try_map,
    .dma_request = onpu_dma_request,
    .dma_unmap = onpu_dma_unmap,
    .irq = onpu_irq,
    .guest_error = onpu_guest_error,
    .reset_request = onpu_reset_request,
    .trace = onpu_trace,
};

/* --- BAR0 ------------------------------------------------------------------- */

static uint64_t onpu_mmio_read(void *opaque, hwaddr addr, unsigned size)
{
    OnpuState *s = opaque;

    return onpu_card_mmio_read(s->card, addr, size);
}

static void onpu_mmio_write(void *opaque, hwaddr addr, uint64_t value,
                            unsigned size)
{
    OnpuState *s = opaque;

    onpu_card_mmio_write(s->card, addr, value, size);
}

/* The card judges sizes and alignment itself, so everything passes through. */
static const MemoryRegionOps onpu_mmio_ops = {
    .read = onpu_mmio_read,
    .write = onpu_mmio_write,
    .endianness = DEVICE_LITTLE_ENDIAN,
    .valid = { .min_access_size = 1, .max_access_size = 8, .unaligned = true },
    .impl = { .min_access_size = 1, .max_access_size = 8, .unaligned = true },
};

/* --- reset, run state -------------------------------------------------------- */

static void onpu_do_reset(OnpuState *s)
{
    onpu_dma_drain(s);
    onpu_card_reset(s->card, ONPU_RESET_FUNCTION);
    onpu_dma_drain(s);
    qatomic_set(&s->irq_pending, 0);
    s->iommu = pci_device_iommu_address_space(PCI_DEVICE(s)) !=
               &address_space_memory;
}

static void onpu_reset_bh(void *opaque)
{
    onpu_do_reset(opaque);
}

/* FLR, hot reset of the bus and system reset: card memory keeps its content. */
static void onpu_reset_hold(Object *obj, ResetType type)
{
    OnpuState *s = ONPU(obj);

    msix_reset(PCI_DEVICE(s));
    onpu_do_reset(s);
}

static void onpu_vm_state(void *opaque, bool running, RunState state)
{
    OnpuState *s = opaque;

    if (running && s->parked) {
        s->parked = false;
        onpu_card_resume(s->card);
    } else if (!running && !s->parked) {
        s->parked = true;
        onpu_card_quiesce(s->card);
        /* The engines write card memory behind QEMU's dirty tracking. */
        memory_region_set_dirty(&s->vram, 0, memory_region_size(&s->vram));
    }
}

static void onpu_config_write(PCIDevice *dev, uint32_t addr, uint32_t value,
                              int len)
{
    pci_default_write_config(dev, addr, value, len);
    pcie_cap_flr_write_config(dev, addr, value, len);
    pcie_aer_write_config(dev, addr, value, len);
}

/* --- migration --------------------------------------------------------------- */

static int onpu_pre_save(void *opaque)
{
    OnpuState *s = opaque;
    size_t size;

    free(s->state);
    s->state = onpu_card_save(s->card, &size);
    if (!s->state || size > UINT32_MAX) {
        return -ENOMEM;
    }
    s->state_size = size;
    return 0;
}

static int onpu_post_save(void *opaque)
{
    OnpuState *s = opaque;

    free(s->state);
    s->state = NULL;
    s->state_size = 0;
    return 0;
}

static int onpu_post_load(void *opaque, int version_id)
{
    OnpuState *s = opaque;
    int ret = onpu_card_load(s->card, s->state, s->state_size);

    g_free(s->state);
    s->state = NULL;
    s->state_size = 0;
    if (s->irq_pending) {
        qemu_bh_schedule(s->irq_bh);
    }
    return ret;
}

static const VMStateDescription onpu_vmstate = {
    .name = TYPE_ONPU,
    .version_id = 1,
    .minimum_version_id = 1,
    .pre_save = onpu_pre_save,
    .post_save = onpu_post_save,
    .post_load = onpu_post_load,
    .fields = (const VMStateField[]) {
        VMSTATE_PCI_DEVICE(parent_obj, OnpuState),
        VMSTATE_MSIX(parent_obj, OnpuState),
        VMSTATE_UINT64(irq_pending, OnpuState),
        VMSTATE_UINT32(state_size, OnpuState),
        VMSTATE_VBUFFER_ALLOC_UINT32(state, OnpuState, 0, NULL, state_size),
        VMSTATE_END_OF_LIST()
    },
};

/* --- realize ------------------------------------------------------------------ */

static bool onpu_check_properties(OnpuState *s, Error **errp)
{
    if (!s->aperture_size) {
        s->aperture_size = s->vram_size;
    }
    if (s->vram_size < ONPU_VRAM_MIN || s->vram_size % (2 * MiB)) {
        error_setg(errp, "onpu: vram must be a multiple of 2M, at least 16M");
        return false;
    }
    if (s->aperture_size < ONPU_VRAM_MIN || s->aperture_size > s->vram_size ||
        s->aperture_size % (2 * MiB)) {
        error_setg(errp, "onpu: aperture must be a multiple of 2M, at least "
                   "16M and at most vram");
        return false;
    }
    if (!s->slots || s->slots > ONPU_MAX_SLOTS ||
        !s->queues || s->queues > ONPU_MAX_QUEUES ||
        !s->contexts || s->contexts > ONPU_MAX_CONTEXTS ||
        !s->vectors || s->vectors > ONPU_MAX_VECTORS) {
        error_setg(errp, "onpu: slots must be 1..%d, queues 1..%d, contexts "
                   "1..%d, vectors 1..%d", ONPU_MAX_SLOTS, ONPU_MAX_QUEUES,
                   ONPU_MAX_CONTEXTS, ONPU_MAX_VECTORS);
        return false;
    }
    return true;
}

static bool onpu_init_memory(OnpuState *s, Error **errp)
{
    Object *obj = OBJECT(s);
    PCIDevice *dev = PCI_DEVICE(s);

    memory_region_init_io(&s->regs, obj, &onpu_mmio_ops, s, "onpu-regs",
                          ONPU_BAR_REGS_SIZE);
    if (!memory_region_init_ram(&s->vram, obj, "onpu-vram", s->vram_size,
                                errp)) {
        return false;
    }
    memory_region_init(&s->aperture, obj, "onpu-aperture",
                       pow2ceil(s->aperture_size));
    memory_region_init_alias(&s->aperture_ram, obj, "onpu-aperture-ram",
                             &s->vram, 0, s->aperture_size);
    memory_region_add_subregion(&s->aperture, 0, &s->aperture_ram);

    pci_register_bar(dev, ONPU_BAR_REGS, PCI_BASE_ADDRESS_MEM_TYPE_64,
                     &s->regs);
    pci_register_bar(dev, ONPU_BAR_VRAM, PCI_BASE_ADDRESS_MEM_TYPE_64 |
                     PCI_BASE_ADDRESS_MEM_PREFETCH, &s->aperture);
    return true;
}

static bool onpu_init_pci(OnpuState *s, Error **errp)
{
    PCIDevice *dev = PCI_DEVICE(s);
    unsigned i;

    dev->config[PCI_INTERRUPT_PIN] = 0;
    if (msix_init_exclusive_bar(dev, s->vectors, ONPU_BAR_MSIX, errp)) {
        return false;
    }
    for (i = 0; i < s->vectors; i++) {
        msix_vector_use(dev, i);
    }
    if (pci_pm_init(dev, 0, errp) < 0 ||
        pcie_endpoint_cap_init(dev, 0) < 0) {
        return false;
    }
    pcie_cap_fill_link_ep_usp(dev, QEMU_PCI_EXP_LNK_X16,
                              QEMU_PCI_EXP_LNK_32GT);
    pcie_cap_flr_init(dev);
    pcie_cap_deverr_init(dev);
    if (pcie_aer_init(dev, PCI_ERR_VER, ONPU_CAP_AER, PCI_ERR_SIZEOF,
                      errp) < 0) {
        return false;
    }
    pcie_dev_ser_num_init(dev, ONPU_CAP_SERIAL, s->serial);
    return true;
}

static bool onpu_create_card(OnpuState *s, Error **errp)
{
    s->config = (struct onpu_card_config) {
        .vram = memory_region_get_ram_ptr(&s->vram),
        .vram_size = s->vram_size,
        .aperture_size = s->aperture_size,
        .serial = s->serial,
        .speed = s->speed,
        .slots = s->slots,
        .queues = s->queues,
        .contexts = s->contexts,
        .vectors = s->vectors,
        .threads = s->threads,
        .doorbell_inline = s->doorbell_inline,
        .isa = s->isa,
        .min_svn = s->min_svn,
        .no_dev_key = !s->dev_key,
    };
    s->card = onpu_card_create(&s->config, &onpu_ops, s);
    if (!s->card) {
        error_setg_errno(errp, errno, "onpu: cannot create the card (properties "
                         "out of range?)");
        return false;
    }
    s->parked = !runstate_is_running();
    if (s->parked) {
        onpu_card_quiesce(s->card);
    }
    return true;
}

/* Undoes as much of onpu_realize() as has happened. */
static void onpu_exit(PCIDevice *dev)
{
    OnpuState *s = ONPU(dev);

    if (s->vmstate) {
        qemu_del_vm_change_state_handler(s->vmstate);
    }
    if (s->card) {
        /* After the reset no thread of the card asks for anything any more. */
        onpu_do_reset(s);
        onpu_card_destroy(s->card);
        s->card = NULL;
    }
    qemu_bh_delete(s->irq_bh);
    qemu_bh_delete(s->dma_bh);
    qemu_bh_delete(s->reset_bh);
    qemu_mutex_destroy(&s->dma_lock);
    if (dev->exp.aer_cap) {
        pcie_aer_exit(dev);
    }
    if (dev->exp.exp_cap) {
        pcie_cap_exit(dev);
    }
    if (msix_present(dev)) {
        msix_uninit_exclusive_bar(dev);
    }
}

static void onpu_realize(PCIDevice *dev, Error **errp)
{
    OnpuState *s = ONPU(dev);
    DeviceState *d = DEVICE(dev);

    if (!onpu_check_properties(s, errp)) {
        return;
    }
    qemu_mutex_init(&s->dma_lock);
    QSIMPLEQ_INIT(&s->dma_queue);
    s->irq_bh = qemu_bh_new_guarded(onpu_irq_bh, s, &d->mem_reentrancy_guard);
    s->dma_bh = qemu_bh_new(onpu_dma_bh, s);
    s->reset_bh = qemu_bh_new(onpu_reset_bh, s);
    s->iommu = pci_device_iommu_address_space(dev) != &address_space_memory;
    if (!onpu_init_memory(s, errp) || !onpu_init_pci(s, errp) ||
        !onpu_create_card(s, errp)) {
        onpu_exit(dev);
        return;
    }
    s->vmstate = qdev_add_vm_change_state_handler(d, onpu_vm_state, s);
}

/* --- fault injection: qom-set <path> inject "name" or "name=number" ----------- */

static void onpu_set_inject(Object *obj, const char *value, Error **errp)
{
    OnpuState *s = ONPU(obj);
    g_auto(GStrv) part = g_strsplit(value, "=", 2);
    uint64_t arg = 0;
    int ret;

    if (!s->card) {
        error_setg(errp, "onpu: inject works on a realized card");
        return;
    }
    if (!part[0] || (part[1] && qemu_strtou64(part[1], NULL, 0, &arg))) {
        error_setg(errp, "onpu: inject takes NAME or NAME=NUMBER");
        return;
    }
    ret = onpu_card_inject(s->card, part[0], arg);
    if (ret) {
        error_setg_errno(errp, -ret, "onpu: inject %s", value);
    }
}

static const Property onpu_properties[] = {
    DEFINE_PROP_SIZE("vram", OnpuState, vram_size, 4 * GiB),
    DEFINE_PROP_SIZE("aperture", OnpuState, aperture_size, 0),
    DEFINE_PROP_UINT64("serial", OnpuState, serial, 1),
    DEFINE_PROP_UINT32("slots", OnpuState, slots, 16),
    DEFINE_PROP_UINT32("queues", OnpuState, queues, 1024),
    DEFINE_PROP_UINT32("contexts", OnpuState, contexts, 64),
    DEFINE_PROP_UINT32("vectors", OnpuState, vectors, 32),
    DEFINE_PROP_INT32("threads", OnpuState, threads, -1),
    DEFINE_PROP_UINT32("min-svn", OnpuState, min_svn, 0),
    DEFINE_PROP_BOOL("dev-key", OnpuState, dev_key, true),
    DEFINE_PROP_BOOL("doorbell-inline", OnpuState, doorbell_inline, true),
    DEFINE_PROP_STRING("isa", OnpuState, isa),
    /* 0: the model's default */
    DEFINE_PROP_UINT32("cores", OnpuState, speed.cores, 0),
    DEFINE_PROP_UINT32("clock-khz", OnpuState, speed.clock_khz, 0),
    DEFINE_PROP_UINT32("macs-32", OnpuState, speed.macs[0], 0),
    DEFINE_PROP_UINT32("macs-16", OnpuState, speed.macs[1], 0),
    DEFINE_PROP_UINT32("macs-8", OnpuState, speed.macs[2], 0),
    DEFINE_PROP_UINT32("macs-4", OnpuState, speed.macs[3], 0),
    DEFINE_PROP_UINT32("packet-ns", OnpuState, speed.packet_ns, 0),
    DEFINE_PROP_UINT64("vram-bandwidth", OnpuState, speed.vram_bandwidth, 0),
    DEFINE_PROP_UINT64("host-bandwidth", OnpuState, speed.host_bandwidth, 0),
};

static void onpu_class_init(ObjectClass *oc, void *data)
{
    DeviceClass *dc = DEVICE_CLASS(oc);
    PCIDeviceClass *pc = PCI_DEVICE_CLASS(oc);
    ResettableClass *rc = RESETTABLE_CLASS(oc);

    pc->realize = onpu_realize;
    pc->exit = onpu_exit;
    pc->config_write = onpu_config_write;
    pc->vendor_id = ONPU_PCI_VENDOR_ID;
    pc->device_id = ONPU_PCI_DEVICE_ID;
    pc->subsystem_vendor_id = ONPU_PCI_VENDOR_ID;
    pc->subsystem_id = ONPU_PCI_SUBSYSTEM_ID;
    pc->revision = ONPU_PCI_REVISION;
    pc->class_id = ONPU_PCI_CLASS >> 8;
    rc->phases.hold = onpu_reset_hold;
    dc->desc = "ONPU accelerator card";
    dc->vmsd = &onpu_vmstate;
    set_bit(DEVICE_CATEGORY_MISC, dc->categories);
    device_class_set_props(dc, onpu_properties);
    object_class_property_add_str(oc, "inject", NULL, onpu_set_inject);
    object_class_property_set_description(oc, "inject",
        "make the card misbehave: NAME or NAME=NUMBER, see hardware.md");
}

static const TypeInfo onpu_types[] = {
    {
        .name = TYPE_ONPU,
        .parent = TYPE_PCI_DEVICE,
        .instance_size = sizeof(OnpuState),
        .class_init = onpu_class_init,
        .interfaces = (InterfaceInfo[]) {
            { INTERFACE_PCIE_DEVICE },
            { }
        },
    },
};

DEFINE_TYPES(onpu_types)
