// SPDX-License-Identifier: GPL-2.0-only
/* Copyright (c) 2026 The ONPU authors */

/**
 * DOC: What one user may have of a card
 *
 * The card has only so many contexts and queues, and a limit per file does not keep
 * anybody from opening it again. So address spaces and queues are counted for the user
 * who creates them, by the real uid as RLIMIT_NPROC and RLIMIT_MEMLOCK do, for each card,
 * from before they exist until the card has their number back. Who is above the limit gets
 * -EDQUOT. CAP_SYS_RESOURCE exempts from the limit, not from being counted. What the
 * driver has for itself counts for nobody.
 *
 * Locking: &onpu_quotas.lock protects the list and all counts; nothing is allocated under
 * it. An entry exists while it counts anything.
 */

#include <linux/capability.h>
#include <linux/cred.h>
#include <linux/list.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/uidgid.h>

#include <drm/drm_managed.h>
#include <drm/onpu_accel.h>

#include "onpu_device.h"
#include "onpu_quota.h"

static unsigned int max_user_vms;
module_param(max_user_vms, uint, 0644);
MODULE_PARM_DESC(max_user_vms,
		 "Address spaces of one user on a card (default 0: 7/8 of what it has)");

static unsigned int max_user_queues;
module_param(max_user_queues, uint, 0644);
MODULE_PARM_DESC(max_user_queues, "Queues of one user on a card (default 0: 7/8 of what it has)");

/**
 * struct onpu_quota - what a user has
 */
struct onpu_quota {
	/** @node: in &onpu_quotas.list */
	struct list_head node;
	/** @uid: user */
	kuid_t uid;
	/** @count: of each kind */
	u32 count[ONPU_QUOTA_KINDS];
};

/**
 * struct onpu_quotas - what the users of a card have
 */
struct onpu_quotas {
	/** @lock: protects all of it */
	spinlock_t lock;
	/** @list: struct onpu_quota, one for each user who has anything */
	struct list_head list;
};

static u32 quota_limit(struct onpu_device *odev, enum onpu_quota_kind kind)
{
	bool vms = kind == ONPU_QUOTA_VMS;
	u32 all = vms ? odev->caps.contexts : odev->caps.queues;
	u32 limit = READ_ONCE(*(vms ? &max_user_vms : &max_user_queues));

	return limit ? min(limit, all) : all - all / 8;
}

static struct onpu_quota *quota_find_locked(struct onpu_quotas *quotas, kuid_t uid)
{
	struct onpu_quota *quota;

	lockdep_assert_held(&quotas->lock);

	list_for_each_entry(quota, &quotas->list, node) {
		if (uid_eq(quota->uid, uid))
			return quota;
	}
	return NULL;
}

/**
 * onpu_quota_charge() - the calling user will have one more
 * @odev: card
 * @kind: of this
 *
 * Return: what to give to onpu_quota_uncharge(), or -EDQUOT, or -ENOMEM.
 */
struct onpu_quota *onpu_quota_charge(struct onpu_device *odev, enum onpu_quota_kind kind)
{
	struct onpu_quotas *quotas = odev->quotas;
	u32 limit = quota_limit(odev, kind);
	struct onpu_quota *quota, *new;
	bool exempt = false, flushed = false;
	kuid_t uid = current_uid();

	new = kzalloc(sizeof(*new), GFP_KERNEL_ACCOUNT);
	if (!new)
		return ERR_PTR(-ENOMEM);

again:
	spin_lock(&quotas->lock);
	quota = quota_find_locked(quotas, uid);
	if (!exempt && quota && quota->count[kind] >= limit) {
		spin_unlock(&quotas->lock);
		/* What was destroyed comes back with its teardown. */
		if (!flushed) {
			onpu_flush_teardown();
			flushed = true;
			goto again;
		}
		/* Only who needs the capability is seen to use it. */
		exempt = capable(CAP_SYS_RESOURCE);
		if (exempt)
			goto again;
		kfree(new);
		return ERR_PTR(-EDQUOT);
	}
	if (!quota) {
		quota = new;
		new = NULL;
		quota->uid = uid;
		list_add(&quota->node, &quotas->list);
	}
	quota->count[kind]++;
	spin_unlock(&quotas->lock);
	kfree(new);

	return quota;
}

/**
 * onpu_quota_uncharge() - undo onpu_quota_charge()
 * @odev: card
 * @quota: what it returned, or NULL
 * @kind: as then
 */
void onpu_quota_uncharge(struct onpu_device *odev, struct onpu_quota *quota,
			 enum onpu_quota_kind kind)
{
	struct onpu_quotas *quotas = odev->quotas;
	u32 i;

	if (!quota)
		return;

	spin_lock(&quotas->lock);
	quota->count[kind]--;
	for (i = 0; i < ONPU_QUOTA_KINDS; i++) {
		if (quota->count[i])
			break;
	}
	if (i == ONPU_QUOTA_KINDS)
		list_del(&quota->node);
	else
		quota = NULL;
	spin_unlock(&quotas->lock);
	kfree(quota);
}

/**
 * onpu_quota_query() - fill in the limits of the calling user and what it has
 * @odev: card
 * @limits: answer
 */
void onpu_quota_query(struct onpu_device *odev, struct drm_onpu_query_limits *limits)
{
	struct onpu_quotas *quotas = odev->quotas;
	struct onpu_quota *quota;

	limits->max_user_vms = quota_limit(odev, ONPU_QUOTA_VMS);
	limits->max_user_queues = quota_limit(odev, ONPU_QUOTA_QUEUES);

	spin_lock(&quotas->lock);
	quota = quota_find_locked(quotas, current_uid());
	if (quota) {
		limits->user_vms = quota->count[ONPU_QUOTA_VMS];
		limits->user_queues = quota->count[ONPU_QUOTA_QUEUES];
	}
	spin_unlock(&quotas->lock);
}

static void onpu_quota_fini(struct drm_device *drm, void *data)
{
	struct onpu_quotas *quotas = data;

	WARN_ON(!list_empty(&quotas->list));
}

/**
 * onpu_quota_init() - prepare for counting
 * @odev: card
 *
 * Return: 0 or -ENOMEM.
 */
int onpu_quota_init(struct onpu_device *odev)
{
	struct onpu_quotas *quotas = drmm_kzalloc(&odev->drm, sizeof(*quotas), GFP_KERNEL);

	if (!quotas)
		return -ENOMEM;
	spin_lock_init(&quotas->lock);
	INIT_LIST_HEAD(&quotas->list);
	odev->quotas = quotas;

	return drmm_add_action_or_reset(&odev->drm, onpu_quota_fini, quotas);
}
