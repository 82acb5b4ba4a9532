// SPDX-License-Identifier: GPL-2.0-only
/* What fills the pages of an object: its own for each page, by a key; no key is zeroes. */
#include <linux/highmem.h>

#include "module.h"

static u64 tp_mix(u64 x)
{
	x ^= x >> 31;
	x *= 0x9e3779b97f4a7c15ULL;
	x ^= x >> 29;
	x *= 0xbf58476d1ce4e5b9ULL;
	return x ^ (x >> 32);
}

static u64 tp_page_key(u64 key, u32 id, pgoff_t i)
{
	return tp_mix(key + tp_mix(((u64)id << 32) + i + 1)) | 1;
}

#define TP_WORDS	(PAGE_SIZE / sizeof(u64))

/* Some pages have holes: zeroes in front, behind, or all but the last word. */
static u64 tp_word(pgoff_t i, size_t w, u64 v)
{
	switch (i & 7) {
	case 2:
		return w < TP_WORDS / 2 ? 0 : v;
	case 5:
		return w < TP_WORDS / 2 ? v : 0;
	case 6:
		return w == TP_WORDS - 1 ? v : 0;
	default:
		return v;
	}
}

void tp_content_fill(struct page *page, u64 key, u32 id, pgoff_t i)
{
	u64 *p = kmap_local_page(page);
	u64 v = tp_page_key(key, id, i);
	size_t w;

	for (w = 0; w < TP_WORDS; w++, v += 0x9e3779b97f4a7c15ULL)
		p[w] = tp_word(i, w, v);
	kunmap_local(p);
}

/* Page i of nr, of the object with that id. */
bool tp_content_check(struct tp_run *run, struct page *page, u64 key, u32 id, pgoff_t nr,
		      pgoff_t i, const char *when)
{
	u64 *p = kmap_local_page(page);
	u64 v = key ? tp_page_key(key, id, i) : 0;
	u64 step = key ? 0x9e3779b97f4a7c15ULL : 0;
	u64 got = 0, want = 0;
	size_t w, bad = 0;

	for (w = 0; w < TP_WORDS; w++, v += step) {
		if (p[w] != tp_word(i, w, v)) {
			got = p[w];
			want = tp_word(i, w, v);
			bad = w + 1;
			break;
		}
	}
	kunmap_local(p);
	return tp_check(run, !bad,
			"%s: content of object %u (%lu pages), page %lu, byte %zu: expected %016llx, got %016llx",
			when, id, nr, i, bad ? (bad - 1) * 8 : 0, want, got);
}

u64 tp_first_word(struct page *p)
{
	u64 *at = kmap_local_page(p), v = *at;

	kunmap_local(at);
	return v;
}
