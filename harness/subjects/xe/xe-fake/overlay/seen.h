/* SPDX-License-Identifier: GPL-2.0-only */
/* Counting what the spies see: kswapd, direct reclaim and workers at once. */
#ifndef _FAKE_SEEN_H_
#define _FAKE_SEEN_H_

#include <linux/spinlock.h>

#include "fake.h"

extern spinlock_t fake_seen_lock;

#define fake_add(field, n) do {					\
	unsigned long __flags;					\
								\
	spin_lock_irqsave(&fake_seen_lock, __flags);		\
	fake_seen.field += (n);					\
	spin_unlock_irqrestore(&fake_seen_lock, __flags);	\
} while (0)

void fake_report(struct kunit *test);

#endif
