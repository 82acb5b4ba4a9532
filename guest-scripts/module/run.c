// SPDX-License-Identifier: GPL-2.0-only
/*
 * A device without hardware, and the cases that are run on it through debugfs:
 * one line written to "run" runs one case in the task that writes.
 */
#include <linux/debugfs.h>
#include <linux/io.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <drm/drm_drv.h>

#include "module.h"

struct tp_dev *tp_held;

static struct tp_run *tp_current;
static DEFINE_MUTEX(tp_mutex);
static struct dentry *tp_dir;
static struct platform_device *tp_pdev;
static struct drm_device *tp_drm_device;
static char tp_async_text[512];
static DEFINE_SPINLOCK(tp_async_lock);
static unsigned int tp_serial;	/* of the runs; written under tp_mutex */
static char tp_trigger_text[160] = "nothing triggered yet\n";

struct drm_device *tp_drm(void)
{
	return tp_drm_device;
}

struct device *tp_parent(void)
{
	return &tp_pdev->dev;
}

/* ---- diagnostics ---- */

static void tp_vdiag(struct tp_run *run, const char *file, int line,
		     const char *fmt, va_list args)
{
	unsigned long flags;
	size_t len;

	spin_lock_irqsave(&run->lock, flags);
	len = run->diag_len;
	if (len < TP_RESULT_BYTES - 256) {
		len += scnprintf(run->diag + len, TP_RESULT_BYTES - len, "# ");
		len += vscnprintf(run->diag + len, TP_RESULT_BYTES - len, fmt, args);
		if (file)
			len += scnprintf(run->diag + len, TP_RESULT_BYTES - len,
					 " [%s:%d]", file, line);
		len += scnprintf(run->diag + len, TP_RESULT_BYTES - len, "\n");
		run->diag_len = len;
	}
	spin_unlock_irqrestore(&run->lock, flags);
}

/*
 * The guest stands still until the harness, which has its memory written out then, lets it go on:
 * QEMU's pvpanic is told that the guest is in trouble. (Its driver is not needed for that.)
 */
static void tp_stop(void)
{
#ifdef CONFIG_X86
	outb(BIT(0), 0x505);
#endif
}

void tp_fail(struct tp_run *run, const char *file, int line, const char *fmt, ...)
{
	va_list args;

	if (run->failed++ >= TP_MAX_DIAG)
		return;
	va_start(args, fmt);
	tp_vdiag(run, file, line, fmt, args);
	va_end(args);
	if (run->failed == 1 && run->k.stop == 1)
		tp_stop();
}

void tp_note(struct tp_run *run, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	tp_vdiag(run, NULL, 0, fmt, args);
	va_end(args);
}

void tp_skip(struct tp_run *run, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vscnprintf(run->skip, sizeof(run->skip), fmt, args);
	va_end(args);
}

/* For the callbacks, which do not know on whose behalf TTM calls them. */
void tp_async(const char *fmt, ...)
{
	unsigned long flags;
	size_t len;
	va_list args;

	spin_lock_irqsave(&tp_async_lock, flags);
	len = strlen(tp_async_text);
	if (len < sizeof(tp_async_text) - 80) {
		va_start(args, fmt);
		len += vscnprintf(tp_async_text + len,
				  sizeof(tp_async_text) - len, fmt, args);
		va_end(args);
		scnprintf(tp_async_text + len, sizeof(tp_async_text) - len, "; ");
	}
	spin_unlock_irqrestore(&tp_async_lock, flags);
}

static void tp_async_collect(struct tp_run *run)
{
	char text[sizeof(tp_async_text)];
	unsigned long flags;

	spin_lock_irqsave(&tp_async_lock, flags);
	strscpy(text, tp_async_text, sizeof(text));
	tp_async_text[0] = 0;
	spin_unlock_irqrestore(&tp_async_lock, flags);
	tp_check(run, !text[0], "seen in a callback: %s", text);
}

void tp_metric(struct tp_run *run, const char *name, s64 value)
{
	unsigned long flags;

	spin_lock_irqsave(&run->lock, flags);
	run->metrics_len += scnprintf(run->metrics + run->metrics_len,
				      TP_RESULT_BYTES - run->metrics_len,
				      "%s=%lld\n", name, value);
	spin_unlock_irqrestore(&run->lock, flags);
}

/* Notes that a check was evaluated, and says what is to be reported of it. */
bool tp_evaluated(struct tp_run *run, struct tp_site *site, bool ok)
{
	char name[sizeof(run->k.broken)];
	unsigned long flags;

	if (READ_ONCE(site->serial) != run->serial) {
		snprintf(name, sizeof(name), "%s:%d", kbasename(site->file), site->line);
		spin_lock_irqsave(&run->lock, flags);
		if (site->serial != run->serial) {
			list_add_tail(&site->link, &run->sites);
			atomic_long_set(&site->evaluated, 0);
			site->broken = !strcmp(name, run->k.broken);
			/* Pairs with the look above: what is set is seen by who sees the serial. */
			smp_store_release(&site->serial, run->serial);
		}
		spin_unlock_irqrestore(&run->lock, flags);
	}
	atomic_long_inc(&site->evaluated);
	/* "uncounted" stands for a case that checks nothing, which has to be red as well. */
	if (!run->tidying && strcmp(run->k.broken, "uncounted"))
		atomic_long_inc(&run->checks);
	return ok != READ_ONCE(site->broken);
}

u32 tp_rand(struct tp_run *run, u32 below)
{
	return below ? prandom_u32_state(&run->rnd) % below : 0;
}

/* ---- the line that is written ---- */

/* What every module takes; the rest is the module's own. */
static const struct tp_key tp_common_keys[] = {
	TP_KEY("case", K_NAME, name, 0, 0, NULL),
	TP_KEY("seed", K_U64, seed, 0, 0, NULL),
	TP_KEY("break", K_NAME, broken, 0, 0, NULL),
	TP_KEY("stop", K_INT, stop, 0, 1, NULL),
};

static const struct tp_key *tp_key_find(const struct tp_key *keys, size_t nr, const char *name)
{
	size_t i;

	for (i = 0; i < nr; i++)
		if (!strcmp(keys[i].name, name))
			return &keys[i];
	return NULL;
}

static void tp_keys_say(const char *what)
{
	char line[400];
	size_t len = 0, i;

	for (i = 0; i < ARRAY_SIZE(tp_common_keys); i++)
		len += scnprintf(line + len, sizeof(line) - len, "%s ", tp_common_keys[i].name);
	for (i = 0; i < tp_module.nr_keys; i++)
		len += scnprintf(line + len, sizeof(line) - len, "%s ", tp_module.keys[i].name);
	pr_err("%s: bad word \"%s\"; valid keys: %s\n", tp_module.name, what, line);
}

static int tp_enum(const char *words, const char *value)
{
	size_t n = strlen(value);
	int i = 0;

	for (;;) {
		size_t len = strcspn(words, ",");

		if (len == n && !strncmp(words, value, len))
			return i;
		if (!words[len])
			return -1;
		words += len + 1;
		i++;
	}
}

static int tp_parse_word(struct tp_knobs *k, char *word)
{
	char *value = strchr(word, '='), *end;
	const struct tp_key *key;
	void *field;
	u64 u;
	int n;

	if (!value)
		return -EINVAL;
	*value++ = 0;
	key = tp_key_find(tp_common_keys, ARRAY_SIZE(tp_common_keys), word) ?:
	      tp_key_find(tp_module.keys, tp_module.nr_keys, word);
	if (!key)
		return -EINVAL;
	field = (char *)k + key->offset;

	switch (key->kind) {
	case K_NAME:
		BUILD_BUG_ON(sizeof(k->name) != sizeof(k->broken));
		if (!*value || strlen(value) >= sizeof(k->name))
			return -EINVAL;
		strscpy(field, value, sizeof(k->name));
		return 0;
	case K_ENUM:
		n = tp_enum(key->words, value);
		if (n < 0)
			return -EINVAL;
		*(int *)field = n;
		return 0;
	case K_INT:
		if (kstrtoint(value, 0, &n) || n < key->min || n > key->max)
			return -EINVAL;
		*(int *)field = n;
		return 0;
	case K_U64:
		return kstrtou64(value, 0, (u64 *)field);
	case K_SIZE:
		u = memparse(value, &end);
		if (*end || u < key->min || u > key->max || !PAGE_ALIGNED(u))
			return -EINVAL;
		*(u64 *)field = u;
		return 0;
	case K_TOTAL:
		u = memparse(value, &end);
		if (end == value)
			return -EINVAL;
		if (end[0] == '%' && !end[1]) {
			if (u > 400)
				return -EINVAL;
			k->total_pct = u;
			return 0;
		}
		/* A bare number is in MiB. */
		if (!*end && isdigit(end[-1]))
			u <<= 20;
		if (*end || u > 64ULL << 30)
			return -EINVAL;
		k->total = u;
		return 0;
	}
	return -EINVAL;
}

static int tp_parse(struct tp_knobs *k, char *text)
{
	char copy[64];
	char *word;
	int ret;

	memset(k, 0xff, sizeof(*k));
	k->name[0] = 0;
	k->broken[0] = 0;
	k->seed = 1;
	k->bo = 0;
	k->total = 0;
	while ((word = strsep(&text, " \t\n,"))) {
		if (!*word)
			continue;
		strscpy(copy, word, sizeof(copy));
		if (!strcmp(word, "verify") || !strcmp(word, "release"))
			continue;
		ret = tp_parse_word(k, word);
		if (ret) {
			tp_keys_say(copy);
			return ret;
		}
	}
	return 0;
}

/* ---- one case ---- */

static const struct tp_case *tp_find(const char *name)
{
	const struct tp_case *c;
	size_t i;

	for (i = 0; i < tp_module.nr_tables; i++)
		for (c = tp_module.tables[i]; c->name; c++)
			if (!strcmp(c->name, name))
				return c;
	return NULL;
}

static void tp_run_free(struct tp_run *run)
{
	if (!run)
		return;
	kvfree(run->diag);
	kvfree(run->metrics);
	kfree(run);
}

static struct tp_run *tp_run_new(void)
{
	struct tp_run *run = kzalloc(sizeof(*run), GFP_KERNEL);

	if (!run)
		return NULL;
	spin_lock_init(&run->lock);
	INIT_LIST_HEAD(&run->sites);
	run->serial = ++tp_serial;
	run->diag = kvzalloc(TP_RESULT_BYTES, GFP_KERNEL);
	run->metrics = kvzalloc(TP_RESULT_BYTES, GFP_KERNEL);
	if (!run->diag || !run->metrics) {
		tp_run_free(run);
		return NULL;
	}
	return run;
}

static bool tp_may_run(struct tp_run *run, const struct tp_case *c)
{
	if (!tp_module.may_run(run, c))
		return false;
	if (c->needs & TP_NEED_FAULT && !IS_ENABLED(CONFIG_FAULT_INJECTION))
		tp_skip(run, "needs CONFIG_FAULT_INJECTION");
	else if (c->needs & TP_NEED_DMAOPS && !tp_have_dma_ops())
		tp_skip(run, "needs CONFIG_ARCH_HAS_DMA_OPS (GART_IOMMU selects it)");
	else if (c->needs & TP_NEED_PAT && tp_page_attr(ZERO_PAGE(0)) == TP_ATTR_UNKNOWN)
		tp_skip(run, "needs page attributes (x86 with PAT)");
	else if (c->needs & TP_NEED_SWAP && get_nr_swap_pages() < 4096)
		tp_skip(run, "needs swap space");
	else if (c->needs & TP_NEED_NOSWAP && get_nr_swap_pages() > 0)
		tp_skip(run, "needs a machine without swap space");
	return !run->skip[0];
}

static int tp_execute(struct tp_run *run)
{
	const struct tp_case *c = tp_find(run->k.name);
	int warns;
	u64 t0;

	if (!c) {
		pr_err("%s: no case \"%s\"; see the file cases\n", tp_module.name,
		       run->k.name);
		return -ENOENT;
	}
	if (tp_held && strcmp(c->name, "release")) {
		pr_err("%s: objects are held; case=release first\n", tp_module.name);
		return -EBUSY;
	}
	prandom_seed_state(&run->rnd, run->k.seed);
	run->quiet = !(c->needs & TP_LOUD);
	tp_counters_read(&run->start);
	run->start.files = tp_open_files();
	warns = tp_warn_count();
	t0 = ktime_get_ns();
	if (tp_may_run(run, c))
		c->fn(run);
	tp_fail_nth(0);
	tp_make_fail(false);
	tp_metric(run, "ms", div_u64(ktime_get_ns() - t0, NSEC_PER_MSEC));
	tp_metric(run, "checks", atomic_long_read(&run->checks));
	if (!run->failed && !run->skip[0] && !(c->needs & TP_KEEP) &&
	    !atomic_long_read(&run->checks))
		tp_bug(run, "the case ended without having checked anything");
	run->tidying = true;
	tp_async_collect(run);
	tp_eq(run, tp_warn_count() - warns, 0, "warnings of the kernel in this case");
	/* Whatever else was left behind is looked for when the result is read. */
	run->leak_checked = c->needs & TP_KEEP || tp_held;
	run->finished = true;
	return 0;
}

static ssize_t tp_run_write(struct file *file, const char __user *ubuf,
			    size_t count, loff_t *ppos)
{
	struct tp_run *run;
	char *text;
	int ret;

	if (count > 1000)
		return -E2BIG;
	text = memdup_user_nul(ubuf, count);
	if (IS_ERR(text))
		return PTR_ERR(text);
	mutex_lock(&tp_mutex);
	run = tp_run_new();
	if (!run) {
		mutex_unlock(&tp_mutex);
		kfree(text);
		return -ENOMEM;
	}
	ret = tp_parse(&run->k, text);
	if (!ret)
		ret = tp_execute(run);
	if (ret) {
		tp_run_free(run);
	} else {
		tp_run_free(tp_current);
		tp_current = run;
	}
	mutex_unlock(&tp_mutex);
	kfree(text);
	return ret ?: count;
}

static const struct file_operations tp_run_fops = {
	.owner = THIS_MODULE,
	.open = simple_open,
	.write = tp_run_write,
};

#define TP_TEXT_BYTES	(2 * TP_RESULT_BYTES + 256)

/* The verdict on the last case and what led to it; looks for leaks when it is first asked for. */
static void tp_result_text(struct tp_run *run, char *text)
{
	size_t len = 0;

	if (!run || !run->finished) {
		scnprintf(text, TP_TEXT_BYTES, "skip nothing was run\n");
		return;
	}
	if (!run->leak_checked) {
		run->leak_checked = true;
		tp_leak_check(run);
	}
	if (run->failed)
		len += scnprintf(text, TP_TEXT_BYTES, "not ok\n");
	else if (run->skip[0])
		len += scnprintf(text, TP_TEXT_BYTES, "skip %s\n", run->skip);
	else
		len += scnprintf(text, TP_TEXT_BYTES, "ok\n");
	len += scnprintf(text + len, TP_TEXT_BYTES - len, "%s", run->diag);
	if (run->failed > TP_MAX_DIAG)
		len += scnprintf(text + len, TP_TEXT_BYTES - len, "# and %d more\n",
				 run->failed - TP_MAX_DIAG);
	scnprintf(text + len, TP_TEXT_BYTES - len, "%schecks_failed=%d\n", run->metrics,
		  run->failed);
}

/* The checks of the last case, a line each: FILE:LINE and how often it was evaluated. */
static void tp_sites_text(struct tp_run *run, char *text)
{
	struct tp_site *site;
	size_t len = 0;

	if (!run)
		return;
	list_for_each_entry(site, &run->sites, link)
		len += scnprintf(text + len, TP_TEXT_BYTES - len, "%s:%d %ld\n",
				 kbasename(site->file), site->line,
				 atomic_long_read(&site->evaluated));
}

/*
 * The text is made when the file is opened: seq_file would hold its lock around
 * tp_mutex, under which files of other seq_files are read.
 */
static int tp_text_open(struct inode *inode, struct file *file)
{
	void (*fill)(struct tp_run *run, char *text) = inode->i_private;
	char *text = kvzalloc(TP_TEXT_BYTES, GFP_KERNEL);

	if (!text)
		return -ENOMEM;
	file->private_data = text;
	mutex_lock(&tp_mutex);
	fill(tp_current, text);
	mutex_unlock(&tp_mutex);
	return 0;
}

static ssize_t tp_text_read(struct file *file, char __user *to, size_t size, loff_t *pos)
{
	char *text = file->private_data;

	return simple_read_from_buffer(to, size, pos, text, strlen(text));
}

static int tp_text_release(struct inode *inode, struct file *file)
{
	kvfree(file->private_data);
	return 0;
}

static const struct file_operations tp_text_fops = {
	.owner = THIS_MODULE,
	.open = tp_text_open,
	.read = tp_text_read,
	.release = tp_text_release,
	.llseek = default_llseek,
};

/* What a script has to know of a case. */
static const struct {
	unsigned int flag;
	const char *word;
} tp_words[] = {
	{ TP_HIDDEN, "suspect" },
	{ TP_HELPER, "helper" },
	{ TP_NEED_NOSWAP, "noswap" },
	{ TP_ARM_POINTS, "points" },
	{ TP_ARM_TASK, "task" },
	{ TP_ARM_LARGE, "large" },
	{ TP_ARM_OWN, "own" },
};

static int tp_list_show(struct seq_file *m, void *data)
{
	const struct tp_case *c;
	size_t i, k;

	for (i = 0; i < tp_module.nr_tables; i++) {
		for (c = tp_module.tables[i]; c->name; c++) {
			seq_printf(m, "%s\t%s\t", c->name, c->invariants);
			for (k = 0; k < ARRAY_SIZE(tp_words); k++)
				if (c->needs & tp_words[k].flag)
					seq_printf(m, "%s,", tp_words[k].word);
			seq_printf(m, "\t%s\n", c->what);
		}
	}
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(tp_list);
static int tp_stats_show(struct seq_file *m, void *data)
{
	struct tp_counters c;

	tp_counters_read(&c);
	tp_module.show_stats(m);
	seq_printf(m, "gpu_active=%ld\ngpu_reclaim=%ld\nshmem=%ld\nswap_free=%ld\n",
		   c.gpu_active, c.gpu_reclaim, c.shmem, c.swap_free);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(tp_stats);

/* ---- the trigger: count and scan in the context of reclaim ---- */

static const struct {
	const char *name;
	gfp_t gfp;
} tp_gfps[] = {
	{ "KERNEL", GFP_KERNEL }, { "NOFS", GFP_NOFS }, { "NOIO", GFP_NOIO },
	{ "USER", GFP_USER }, { "HIGHUSER", GFP_HIGHUSER }, { "NOWAIT", GFP_NOWAIT },
	{ "ATOMIC", GFP_ATOMIC },
};

static ssize_t tp_shrink_write(struct file *file, const char __user *ubuf,
			       size_t count, loff_t *ppos)
{
	struct tp_scan scan = { .gfp = GFP_KERNEL, .nr = 128 };
	bool is_scan = false, found = true;
	char text[160], *p = text, *word;
	size_t i;

	if (count >= sizeof(text))
		return -E2BIG;
	if (copy_from_user(text, ubuf, count))
		return -EFAULT;
	text[count] = 0;
	while ((word = strsep(&p, "\n "))) {
		if (!*word || !strcmp(word, "count")) {
			continue;
		} else if (!strcmp(word, "scan")) {
			is_scan = true;
		} else if (!strncmp(word, "gfp=", 4)) {
			found = false;
			for (i = 0; i < ARRAY_SIZE(tp_gfps); i++)
				if (!strcmp(word + 4, tp_gfps[i].name)) {
					scan.gfp = tp_gfps[i].gfp;
					found = true;
				}
		} else if (!strncmp(word, "nr=", 3)) {
			found = !kstrtoul(word + 3, 0, &scan.nr);
		} else if (!strncmp(word, "kswapd=", 7)) {
			found = !kstrtobool(word + 7, &scan.kswapd);
		} else {
			found = false;
		}
		if (!found) {
			pr_err("%s: bad word \"%s\"; valid: count|scan gfp=KERNEL|NOFS|NOIO|USER|HIGHUSER|NOWAIT|ATOMIC nr=N kswapd=0|1\n",
			       tp_module.name, word);
			return -EINVAL;
		}
	}
	/* Safe at any time, with nothing there as well. */
	if (!mutex_trylock(&tp_mutex))
		return -EBUSY;
	if (!tp_held) {
		strscpy(tp_trigger_text, "count=0 no device\n", sizeof(tp_trigger_text));
	} else if (is_scan) {
		tp_trigger_scan(tp_held, &scan);
		snprintf(tp_trigger_text, sizeof(tp_trigger_text),
			 "freed=%ld scanned=%lu ns=%llu\n", (long)scan.ret,
			 scan.scanned, scan.ns);
	} else {
		snprintf(tp_trigger_text, sizeof(tp_trigger_text), "count=%ld\n",
			 (long)tp_trigger_count(tp_held, scan.gfp));
	}
	mutex_unlock(&tp_mutex);
	return count;
}

static int tp_shrink_show(struct seq_file *m, void *data)
{
	seq_printf(m, "%s", tp_trigger_text);
	return 0;
}

static int tp_shrink_open(struct inode *inode, struct file *file)
{
	return single_open(file, tp_shrink_show, NULL);
}

static const struct file_operations tp_shrink_fops = {
	.owner = THIS_MODULE,
	.open = tp_shrink_open,
	.read = seq_read,
	.llseek = seq_lseek,
	.release = single_release,
	.write = tp_shrink_write,
};

/* ---- the device everything hangs on ---- */

static int tp_probe(struct platform_device *pdev)
{
	struct tp_drm_holder {
		struct drm_device drm;
	} *holder;

	holder = devm_drm_dev_alloc(&pdev->dev, tp_module.driver, struct tp_drm_holder, drm);
	if (IS_ERR(holder))
		return PTR_ERR(holder);
	tp_drm_device = &holder->drm;
	return tp_dma_setup(&pdev->dev);
}

static struct platform_driver tp_platform_driver = {
	.probe = tp_probe,
};

static int __init tp_init(void)
{
	int ret;

	tp_platform_driver.driver.name = tp_module.device;
	ret = platform_driver_register(&tp_platform_driver);
	if (ret)
		return ret;
	tp_pdev = platform_device_register_simple(tp_module.device, PLATFORM_DEVID_NONE, NULL, 0);
	if (IS_ERR(tp_pdev)) {
		ret = PTR_ERR(tp_pdev);
		goto err_driver;
	}
	if (!tp_drm_device) {
		ret = -ENODEV;
		goto err_device;
	}
	tp_dir = debugfs_create_dir(tp_module.name, NULL);
	debugfs_create_file("cases", 0444, tp_dir, NULL, &tp_list_fops);
	debugfs_create_file("run", 0200, tp_dir, NULL, &tp_run_fops);
	debugfs_create_file("result", 0444, tp_dir, tp_result_text, &tp_text_fops);
	debugfs_create_file("sites", 0444, tp_dir, tp_sites_text, &tp_text_fops);
	debugfs_create_file("stats", 0444, tp_dir, NULL, &tp_stats_fops);
	debugfs_create_file("shrink", 0600, tp_dir, NULL, &tp_shrink_fops);
	return 0;

err_device:
	platform_device_unregister(tp_pdev);
err_driver:
	platform_driver_unregister(&tp_platform_driver);
	return ret;
}

static void __exit tp_exit(void)
{
	debugfs_remove(tp_dir);
	if (tp_held) {
		struct tp_dev *dev = tp_held;

		tp_held = NULL;
		tp_dev_free(tp_current, dev);
	}
	tp_run_free(tp_current);
	tp_dma_teardown(&tp_pdev->dev);
	platform_device_unregister(tp_pdev);
	platform_driver_unregister(&tp_platform_driver);
}

module_init(tp_init);
module_exit(tp_exit);
