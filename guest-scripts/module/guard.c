// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory set aside for everybody else while a case leaves them none: it goes to
 * whoever is about to call the OOM killer, in portions, and nobody is killed.
 */
#include <linux/gfp.h>
#include <linux/mm.h>
#include <linux/notifier.h>
#include <linux/oom.h>
#include <linux/sched.h>

#include "module.h"

#define TP_PORTIONS	8

/* Gives that many pages back, or all there are. */
unsigned long tp_guard_give(struct tp_guard *g, unsigned long nr)
{
	struct page *p, *next;
	unsigned long given = 0;
	LIST_HEAD(pages);

	spin_lock(&g->lock);
	while (given < nr && !list_empty(&g->pages)) {
		list_move(g->pages.next, &pages);
		given++;
	}
	g->left -= given;
	spin_unlock(&g->lock);
	list_for_each_entry_safe(p, next, &pages, lru) {
		list_del(&p->lru);
		__free_page(p);
	}
	return given;
}

/* Called before anybody is killed, in the task that found no memory. */
static int tp_guard_notify(struct notifier_block *nb, unsigned long action, void *data)
{
	struct tp_guard *g = container_of(nb, struct tp_guard, nb);

	if (current == g->task)
		atomic_inc(&g->own);
	else
		atomic_inc(&g->others);
	*(unsigned long *)data += tp_guard_give(g, g->portion);
	return NOTIFY_OK;
}

/* From now on nobody is killed as long as there is something to give, so many pages a time. */
void tp_guard_start(struct tp_guard *g, unsigned long portion)
{
	*g = (struct tp_guard){ .task = current, .portion = portion };
	INIT_LIST_HEAD(&g->pages);
	spin_lock_init(&g->lock);
	g->nb.notifier_call = tp_guard_notify;
	register_oom_notifier(&g->nb);
}

/*
 * Enough for several calls, each more than what the watermarks want; the larger
 * the machine, the higher these are.
 */
void tp_guard_set_aside(struct tp_guard *g)
{
	g->portion = clamp(totalram_pages() / 128, 512UL, 4096UL);
	while (g->left < TP_PORTIONS * g->portion && tp_guard_take(g, TP_GUARD_GFP))
		;
	g->set_aside = g->left;
}

/* Whether so many eighths of it are gone: time to want no more. */
bool tp_guard_used(struct tp_guard *g, unsigned int eighths)
{
	return READ_ONCE(g->left) <= g->set_aside - g->set_aside / 8 * eighths;
}

void tp_guard_end(struct tp_guard *g)
{
	unregister_oom_notifier(&g->nb);
	tp_guard_give(g, ULONG_MAX);
}

/* Whether a page could be set aside; nobody is killed for it. */
bool tp_guard_take(struct tp_guard *g, gfp_t gfp)
{
	struct page *p = alloc_page(gfp | __GFP_NOWARN);

	if (!p)
		return false;
	spin_lock(&g->lock);
	list_add(&p->lru, &g->pages);
	g->left++;
	spin_unlock(&g->lock);
	return true;
}
