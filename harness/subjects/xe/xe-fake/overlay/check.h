/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Each place that checks something is known by file and line once it is come by:
 * so a case that checked nothing is seen, and each check can be broken in turn.
 * It hangs on what kunit does at the beginning of every expectation and assertion.
 */
#ifndef _FAKE_CHECK_H_
#define _FAKE_CHECK_H_

#include <kunit/test.h>

#include <linux/list.h>

struct fake_site {
	struct list_head link;
	const char *file;
	int line;
	bool linked;
};

/* `of_case`: it is about what is tested, and not about the way there. */
void fake_check(struct kunit *test, struct fake_site *site, bool of_case);
void fake_checks_forget(void);
unsigned long fake_checks_made(void);
void fake_checks_restart(void);

#ifndef _KUNIT_SAVE_LOC
#error "kunit no longer notes the place of a check by _KUNIT_SAVE_LOC()"
#endif

/* A file that only makes what the cases are about has this ahead of its includes. */
#ifdef FAKE_MAKES_ONLY
#define FAKE_OF_CASE false
#else
#define FAKE_OF_CASE true
#endif

#ifndef FAKE_PLAIN_CHECKS
#undef _KUNIT_SAVE_LOC
#define _KUNIT_SAVE_LOC(test) do {						\
	static struct fake_site __site = { .file = __FILE__, .line = __LINE__ };\
										\
	WRITE_ONCE((test)->last_seen.file, __FILE__);				\
	WRITE_ONCE((test)->last_seen.line, __LINE__);				\
	fake_check(test, &__site, FAKE_OF_CASE);				\
} while (0)
#endif

#endif
