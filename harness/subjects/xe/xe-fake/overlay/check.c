// SPDX-License-Identifier: GPL-2.0-only
/*
 * The checks that a case came by, under /sys/module/xe/parameters: fake_checks lists
 * those of the last case; one of them written to fake_break fails from then on,
 * whatever it finds, and "uncounted" stands for a case that makes none at all.
 */

#define FAKE_PLAIN_CHECKS

#include <linux/module.h>
#include <linux/spinlock.h>
#include <linux/string.h>
#include <linux/sysfs.h>

#include "fake.h"

#define FAKE_BREAK_MAX 64

static LIST_HEAD(fake_sites);
static DEFINE_SPINLOCK(fake_sites_lock);
static unsigned long fake_made;		/* checks of the case, however often each */
static char fake_break[FAKE_BREAK_MAX];

static bool fake_is_broken(const struct fake_site *site)
{
	char name[FAKE_BREAK_MAX];

	if (!*fake_break)
		return false;
	snprintf(name, sizeof(name), "%s:%d", kbasename(site->file), site->line);
	return !strcmp(name, fake_break);
}

void fake_check(struct kunit *test, struct fake_site *site, bool of_case)
{
	unsigned long flags;

	spin_lock_irqsave(&fake_sites_lock, flags);
	if (!site->linked)
		list_add_tail(&site->link, &fake_sites);
	site->linked = true;
	fake_made += of_case;
	spin_unlock_irqrestore(&fake_sites_lock, flags);
	if (fake_is_broken(site))
		KUNIT_FAIL(test, "broken on purpose: %s", fake_break);
}

/* Ahead of a case: it has come by none. */
void fake_checks_forget(void)
{
	struct fake_site *site, *next;
	unsigned long flags;

	spin_lock_irqsave(&fake_sites_lock, flags);
	list_for_each_entry_safe(site, next, &fake_sites, link) {
		list_del(&site->link);
		site->linked = false;
	}
	spin_unlock_irqrestore(&fake_sites_lock, flags);
}

/* What follows is the case itself, on one device. */
void fake_checks_restart(void)
{
	WRITE_ONCE(fake_made, 0);
}

unsigned long fake_checks_made(void)
{
	return strcmp(fake_break, "uncounted") ? READ_ONCE(fake_made) : 0;
}

static int fake_checks_get(char *buffer, const struct kernel_param *param)
{
	struct fake_site *site;
	unsigned long flags;
	int length = 0;

	spin_lock_irqsave(&fake_sites_lock, flags);
	list_for_each_entry(site, &fake_sites, link)
		length += sysfs_emit_at(buffer, length, "%s:%d\n", kbasename(site->file),
					site->line);
	spin_unlock_irqrestore(&fake_sites_lock, flags);
	return length;
}

static const struct kernel_param_ops fake_checks_ops = {
	.get = fake_checks_get,
};

module_param_cb(fake_checks, &fake_checks_ops, NULL, 0400);
MODULE_PARM_DESC(fake_checks, "The checks that the last case came by");

static int fake_break_set(const char *value, const struct kernel_param *param)
{
	if (strlen(value) >= sizeof(fake_break))
		return -EINVAL;
	strscpy(fake_break, value, sizeof(fake_break));
	strim(fake_break);
	return 0;
}

static int fake_break_get(char *buffer, const struct kernel_param *param)
{
	return sysfs_emit(buffer, "%s\n", fake_break);
}

static const struct kernel_param_ops fake_break_ops = {
	.set = fake_break_set,
	.get = fake_break_get,
};

module_param_cb(fake_break, &fake_break_ops, NULL, 0600);
MODULE_PARM_DESC(fake_break, "A check, FILE:LINE, that fails whatever it finds");
