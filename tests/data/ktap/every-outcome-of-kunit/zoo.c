// SPDX-License-Identifier: GPL-2.0-only
/* Cases of every outcome, on purpose. Built as ttmh_zoo.ko with `obj-m := ttmh_zoo.o`. */
#include <kunit/test.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/refcount.h>

static void zoo_pass(struct kunit *test)
{
	kunit_info(test, "all is well");
}

static void zoo_fail(struct kunit *test)
{
	int answer = 41;

	KUNIT_EXPECT_EQ(test, answer, 42);
	KUNIT_EXPECT_STREQ_MSG(test, "ttm", "xe", "names of %d drivers", 2);
}

static void zoo_assert(struct kunit *test)
{
	KUNIT_ASSERT_NOT_NULL(test, NULL);
}

static void zoo_skip_reason(struct kunit *test)
{
	kunit_skip(test, "no such hardware # 3");
}

static void zoo_skip_bare(struct kunit *test)
{
	kunit_skip(test, "%s", "");
}

static void zoo_warn(struct kunit *test)
{
	WARN_ON(test->name[0] == 'z');
}

static void zoo_warn_text(struct kunit *test)
{
	WARN(1, "a warning about %d things\n", 7);
}

static void zoo_refcount(struct kunit *test)
{
	refcount_t count = REFCOUNT_INIT(0);

	refcount_inc(&count);
}

static void zoo_suppressed(struct kunit *test)
{
	kunit_warning_suppress(test) {
		WARN(1, "nobody sees this\n");
	}
}

static void zoo_page_alloc(struct kunit *test)
{
	struct page *page = alloc_pages(GFP_NOWAIT, MAX_PAGE_ORDER);
	struct page *pages[256];
	int i, n = 0;

	while (page && n < 256) {
		pages[n++] = page;
		page = alloc_pages(GFP_NOWAIT, MAX_PAGE_ORDER);
	}
	for (i = 0; i < n; i++)
		__free_pages(pages[i], MAX_PAGE_ORDER);
}

static void zoo_fault(struct kunit *test)
{
	int *volatile nowhere = NULL;

	*nowhere = 1;
}

static void zoo_bug(struct kunit *test)
{
	BUG_ON(test->name[0] == 'z');
}

static const int fruits[] = { 1, 2, 3 };

static void fruit_name(const int *fruit, char *desc)
{
	sprintf(desc, "fruit %d # with a hash", *fruit);
}
KUNIT_ARRAY_PARAM(fruit, fruits, fruit_name);

static void zoo_params(struct kunit *test)
{
	const int *fruit = test->param_value;

	if (*fruit == 3)
		kunit_skip(test, "not ripe");
	KUNIT_EXPECT_NE(test, *fruit, 2);
}

static const void *no_params(struct kunit *test, const void *prev, char *desc)
{
	return NULL;
}

static struct kunit_case zoo_cases[] = {
	KUNIT_CASE(zoo_pass),
	KUNIT_CASE(zoo_fail),
	KUNIT_CASE(zoo_assert),
	KUNIT_CASE(zoo_skip_reason),
	KUNIT_CASE(zoo_skip_bare),
	KUNIT_CASE(zoo_warn),
	KUNIT_CASE(zoo_warn_text),
	KUNIT_CASE(zoo_refcount),
	KUNIT_CASE(zoo_suppressed),
	KUNIT_CASE(zoo_page_alloc),
	KUNIT_CASE_PARAM(zoo_params, fruit_gen_params),
	KUNIT_CASE_PARAM(zoo_params, no_params),
	KUNIT_CASE_SLOW(zoo_pass),
	KUNIT_CASE(zoo_fault),
	KUNIT_CASE(zoo_bug),
	{}
};

static int bad_init(struct kunit_suite *suite)
{
	return -ENODEV;
}

static struct kunit_case one_case[] = { KUNIT_CASE(zoo_pass), {} };
static struct kunit_case skipped_cases[] = { KUNIT_CASE(zoo_skip_bare), {} };

static struct kunit_suite zoo = { .name = "ttmh_zoo", .test_cases = zoo_cases };
static struct kunit_suite broken = {
	.name = "ttmh_broken", .suite_init = bad_init, .test_cases = one_case
};
static struct kunit_suite skipped = { .name = "ttmh_skipped", .test_cases = skipped_cases };
kunit_test_suites(&zoo, &broken, &skipped);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("cases of every outcome, for the parser");
