// SPDX-License-Identifier: GPL-2.0-only
/* Attributes of pages, by their entries in the page table. */
#ifdef CONFIG_X86
#include <asm/memtype.h>
#include <asm/pgtable.h>
#include <asm/set_memory.h>
#endif

#include "module.h"

int tp_page_attr(struct page *p)
{
#ifdef CONFIG_X86_64
	unsigned int level;
	unsigned long v, pat;
	pte_t *pte;

	if (!pat_enabled())
		return TP_ATTR_UNKNOWN;
	pte = lookup_address((unsigned long)page_address(p), &level);
	if (!pte || pte_none(*pte))
		return TP_ATTR_ODD;
	v = pte_val(*pte);
	pat = level == PG_LEVEL_4K ? _PAGE_PAT : _PAGE_PAT_LARGE;
	v &= pat | _PAGE_PCD | _PAGE_PWT;
	if (!v)
		return TP_ATTR_WB;
	if (v == _PAGE_PWT)
		return TP_ATTR_WC;
	if (v == _PAGE_PCD)
		return TP_ATTR_UC;
	return TP_ATTR_ODD;
#else
	return TP_ATTR_UNKNOWN;
#endif
}

void tp_set_wb(struct page *p)
{
#ifdef CONFIG_X86_64
	set_pages_wb(p, 1);
#endif
}

const char *tp_attr_name(int attr)
{
	static const char * const names[] = { "WB", "WC", "UC", "odd", "unknown" };

	return names[attr];
}

bool tp_attr_is(struct tp_run *run, struct page *p, int want, const char *when,
		u32 id, pgoff_t i)
{
	int attr = tp_page_attr(p);

	return tp_check(run, attr == want || attr == TP_ATTR_UNKNOWN,
			"%s: attribute of page %lu of object %u: expected %s, got %s",
			when, i, id, tp_attr_name(want), tp_attr_name(attr));
}
