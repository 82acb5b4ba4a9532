// SPDX-License-Identifier: GPL-2.0-only
/* What can be looked at of TTM from outside: its pools. */
#include <linux/slab.h>

#include "pressure.h"

/* The table of the global pools: entries per kind and order, their sum in pages, the totals. */
static bool tp_pool_table(struct tp_pool_rows *rows, unsigned long *sum, unsigned long *total,
			  unsigned long *limit)
{
	static const char * const names[TP_POOL_KINDS] = { "wc\t", "uc\t", "wc 32", "uc 32" };
	char *text = kzalloc(4096, GFP_KERNEL), *at, *line;
	bool found = false;

	*sum = 0;
	*total = 0;
	*limit = 0;
	if (!text)
		return false;
	if (tp_debugfs_show("/sys/kernel/debug/ttm/page_pool", text, 4096))
		goto out;
	at = text;
	while ((line = strsep(&at, "\n"))) {
		char *p = strchr(line, ':');
		int order = 0, kind = 0;
		unsigned long t, l;

		if (!p)
			continue;
		p++;
		if (!strncmp(line, "total", 5)) {
			if (sscanf(p, "%lu of %lu", &t, &l) == 2) {
				*total += t;
				*limit += l;
				found = true;
			}
			continue;
		}
		while (kind < TP_POOL_KINDS && strncmp(line, names[kind], strlen(names[kind])))
			kind++;
		if (kind == TP_POOL_KINDS)
			continue;
		for (; *p; order++) {
			unsigned long n;
			int used;

			if (sscanf(p, " %lu%n", &n, &used) != 1)
				break;
			if (rows && order <= MAX_PAGE_ORDER)
				rows->n[kind][order] = n;
			*sum += n << order;
			p += used;
		}
	}
out:
	kfree(text);
	return found;
}

bool tp_pool_footer(unsigned long *total, unsigned long *limit)
{
	unsigned long sum;

	return tp_pool_table(NULL, &sum, total, limit);
}

bool tp_pool_entries(struct tp_pool_rows *rows)
{
	unsigned long total, limit;

	memset(rows, 0, sizeof(*rows));
	return tp_pool_table(rows, &rows->pages, &total, &limit);
}

/* Pages in the pools of one kind. */
unsigned long tp_pool_kind(const struct tp_pool_rows *rows, enum tp_pool_kind kind)
{
	unsigned long n = 0;
	int order;

	for (order = 0; order <= MAX_PAGE_ORDER; order++)
		n += rows->n[kind][order] << order;
	return n;
}

long tp_pool_total(void)
{
	unsigned long total, limit;

	return tp_pool_footer(&total, &limit) ? total : -1;
}

long tp_pool_limit(void)
{
	unsigned long total, limit;

	return tp_pool_footer(&total, &limit) ? limit : -1;
}

int tp_want_attr(enum ttm_caching caching)
{
	if (caching == ttm_write_combined)
		return TP_ATTR_WC;
	return caching == ttm_uncached ? TP_ATTR_UC : TP_ATTR_WB;
}
