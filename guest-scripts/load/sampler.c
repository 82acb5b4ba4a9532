// SPDX-License-Identifier: GPL-2.0-only
/*
 * sampler OUT INTERVAL_MS [STATSFILE...]
 *
 * Writes what the kernel says of its memory to OUT at a fixed rate, until
 * SIGTERM. It shares the machine with what it measures: after the first round
 * it neither allocates nor faults, it cannot be killed for want of memory, and
 * OUT gets one write a second.
 *
 * OUT is a text table, fields separated by tabs:
 *
 *	# ttm-sampler 1 interval_ms=100 page_bytes=4096 rss_kib=324
 *	time_ms	sampler_took:us	sampler_cpu:us	MemFree:KiB	...
 *	1234	310	2210	180224	...
 *	# end samples=873 missed=0 dropped=0 rss_kib=324 cpu_us=269104
 *
 * A line that begins with time_ms is a header and holds for the records below
 * it; there is a new one when STATSFILE (lines of name=value; of several the
 * first that is there) shows a new name, which becomes a column stat.NAME
 * without a unit. Values are integers; "-" is a value that this kernel does
 * not have or could not give. time_ms is
 * CLOCK_MONOTONIC when the sample began, sampler_took how long the reading
 * took, sampler_cpu what the sampler has used since its start. A recording
 * without the "end" line was cut off: the guest died before somebody ended the
 * sampler.
 *
 * printk's times are those of local_clock(), which differs from
 * CLOCK_MONOTONIC by where it began to count: 10 to 20 ms were seen.
 *
 * The schedule is absolute. A sample that is late has its true time; slots
 * that passed meanwhile are left out, and counted as missed. Where memory is
 * short the sampler too pays for what the kernel allocates on its behalf: its
 * share of direct reclaim is in the counters, and in sampler_took.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))
#define NSEC_PER_SEC	1000000000LL
#define NSEC_PER_MSEC	1000000LL
#define NSEC_PER_USEC	1000LL
#define BATCH_NS	NSEC_PER_SEC
#define STATS_MAX	64
#define NAME_MAX_LEN	39
/* Room for a header and a record of all the columns there can be. */
#define ROOM		8192

struct column {
	const char *name;
	const char *unit;
	bool sum;		/* of all that begin with the name and _ */
	bool present;
	long long value;
};

#define COLUMN(of, in)	{ .name = of, .unit = in }

enum { TOOK, CPU };

static struct column self[] = {
	[TOOK] = COLUMN("sampler_took", "us"),
	[CPU] = COLUMN("sampler_cpu", "us"),
};

static struct column meminfo[] = {
	COLUMN("MemFree", "KiB"),
	COLUMN("MemAvailable", "KiB"),
	COLUMN("AnonPages", "KiB"),
	COLUMN("Shmem", "KiB"),
	COLUMN("SwapCached", "KiB"),
	COLUMN("SwapTotal", "KiB"),
	COLUMN("SwapFree", "KiB"),
	COLUMN("GPUActive", "KiB"),
	COLUMN("GPUReclaim", "KiB"),
	COLUMN("Slab", "KiB"),
	COLUMN("SUnreclaim", "KiB"),
};

static struct column vmstat[] = {
	COLUMN("nr_gpu_active", "pages"),
	COLUMN("nr_gpu_reclaim", "pages"),
	COLUMN("pswpin", "pages"),
	COLUMN("pswpout", "pages"),
	{ .name = "allocstall", .unit = "count", .sum = true },
	COLUMN("pgsteal_kswapd", "pages"),
	COLUMN("pgsteal_direct", "pages"),
	COLUMN("pgscan_kswapd", "pages"),
	COLUMN("pgscan_direct", "pages"),
	COLUMN("slabs_scanned", "count"),
	COLUMN("drop_slab", "count"),
	COLUMN("oom_kill", "count"),
	COLUMN("compact_stall", "count"),
	COLUMN("compact_fail", "count"),
};

enum { SOME_AVG10, SOME_TOTAL, FULL_AVG10, FULL_TOTAL };

static struct column psi[] = {
	[SOME_AVG10] = COLUMN("psi_some_avg10", "0.01%"),
	[SOME_TOTAL] = COLUMN("psi_some_total", "us"),
	[FULL_AVG10] = COLUMN("psi_full_avg10", "0.01%"),
	[FULL_TOTAL] = COLUMN("psi_full_total", "us"),
};

enum { LOW_PAGES, HIGH_BLOCKS };

static struct column buddy[] = {
	[LOW_PAGES] = COLUMN("free_order0_3", "pages"),
	[HIGH_BLOCKS] = COLUMN("free_order9_up", "blocks"),
};

static struct column stats[STATS_MAX];
static char stat_names[STATS_MAX][NAME_MAX_LEN + 1];
static size_t nr_stats;

static char text[64 << 10];	/* what a file of the kernel said */
static char out[64 << 10];	/* what has not been written yet */
static size_t out_len;
static int out_fd;
static int meminfo_fd, vmstat_fd, psi_fd, buddy_fd;
static char **stats_paths;	/* up to a NULL */
static bool new_columns = true;

static unsigned long long samples, missed, dropped, unwritten;
static volatile sig_atomic_t stop;

static void on_signal(int sig)
{
	(void)sig;
	stop = 1;
}

static long long now(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return ts.tv_sec * NSEC_PER_SEC + ts.tv_nsec;
}

/* ---- what is written ---- */

static void put_text(const char *s)
{
	size_t len = strlen(s);

	memcpy(out + out_len, s, len);
	out_len += len;
}

static void put_number(long long n)
{
	unsigned long long left = n < 0 ? -(unsigned long long)n : (unsigned long long)n;
	char digits[20];
	size_t len = 0;

	do
		digits[len++] = '0' + left % 10;
	while (left /= 10);
	if (n < 0)
		out[out_len++] = '-';
	while (len)
		out[out_len++] = digits[--len];
}

static void put_field(const char *name, long long n)
{
	put_text(name);
	put_number(n);
}

static void put_names(const struct column *c, size_t nr)
{
	for (; nr--; c++) {
		put_text("\t");
		put_text(c->name);
		if (c->unit) {
			put_text(":");
			put_text(c->unit);
		}
	}
}

static void put_values(const struct column *c, size_t nr)
{
	for (; nr--; c++) {
		put_text("\t");
		if (c->present)
			put_number(c->value);
		else
			put_text("-");
	}
}

/*
 * One write for the batch. What could not be written is tried again with the
 * next batch, until there is no room for it.
 */
static void flush(void)
{
	ssize_t n;

	while (out_len) {
		n = write(out_fd, out, out_len);
		if (n <= 0) {
			if (n < 0 && errno == EINTR)
				continue;
			break;
		}
		memmove(out, out + n, out_len - n);
		out_len -= n;
	}
	if (out_len > sizeof(out) - 2 * ROOM) {
		dropped += unwritten;
		out_len = 0;
		/* The last line in the file may be cut short: end it. */
		put_text("\n");
		new_columns = true;
	}
	if (out_len <= 1)
		unwritten = 0;
}

/* ---- what is read ---- */

/* All of a file into "text"; false when it cannot be read. */
static bool slurp(int fd)
{
	size_t len = 0;
	ssize_t n;

	if (fd < 0)
		return false;
	while (len < sizeof(text) - 1) {
		n = pread(fd, text + len, sizeof(text) - 1 - len, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return false;
		if (!n)
			break;
		len += n;
	}
	text[len] = 0;
	return len;
}

/* Digits with an optional sign; NULL when there are none or too many. */
static const char *get_number(const char *p, long long *n)
{
	bool negative = *p == '-';
	const char *start;

	p += negative;
	start = p;
	for (*n = 0; *p >= '0' && *p <= '9'; p++) {
		if (p - start >= 18)
			return NULL;
		*n = *n * 10 + (*p - '0');
	}
	if (p == start)
		return NULL;
	if (negative)
		*n = -*n;
	return p;
}

/*
 * The next line that is a name and a number ("MemFree:  12 kB", "pswpin 3",
 * "purged=4"); moves *at behind it. The number ends the line, or a blank does.
 */
static bool next_pair(const char **at, const char **name, size_t *len, long long *value)
{
	const char *p = *at, *end, *rest;

	for (; *p; p = end + (*end == '\n')) {
		end = strchrnul(p, '\n');
		*name = p;
		*len = strcspn(p, "\n:= ");
		rest = p + *len;
		if (!*len || rest == end || !*rest)
			continue;
		rest = get_number(rest + 1 + strspn(rest + 1, " "), value);
		if (!rest || (rest != end && *rest != ' '))
			continue;
		*at = end + (*end == '\n');
		return true;
	}
	return false;
}

static bool matches(const struct column *c, const char *name, size_t len)
{
	size_t own = strlen(c->name);

	if (c->sum)
		return len > own && name[own] == '_' && !memcmp(c->name, name, own);
	return len == own && !memcmp(c->name, name, len);
}

static void read_pairs(int fd, struct column *table, size_t nr)
{
	const char *at = text, *name;
	long long value;
	size_t len, i;

	if (!slurp(fd))
		return;
	while (next_pair(&at, &name, &len, &value)) {
		for (i = 0; i < nr; i++) {
			if (!matches(&table[i], name, len))
				continue;
			table[i].value = value + (table[i].present ? table[i].value : 0);
			table[i].present = true;
			break;
		}
	}
}

static void set(struct column *c, long long value)
{
	c->value = value;
	c->present = true;
}

/* some avg10=0.12 avg60=0.03 avg300=0.00 total=4711 */
static void read_psi_line(const char *word, struct column *avg10, struct column *total)
{
	const char *line = strstr(text, word), *p;
	long long whole, part;

	if (!line)
		return;
	p = strstr(line, "avg10=");
	if (p)
		p = get_number(p + strlen("avg10="), &whole);
	if (p && *p == '.' && get_number(p + 1, &part))
		set(avg10, whole * 100 + part);
	p = strstr(line, "total=");
	if (p && get_number(p + strlen("total="), &whole))
		set(total, whole);
}

static void read_psi(void)
{
	if (!slurp(psi_fd))
		return;
	read_psi_line("some ", &psi[SOME_AVG10], &psi[SOME_TOTAL]);
	read_psi_line("full ", &psi[FULL_AVG10], &psi[FULL_TOTAL]);
}

/* Node 0, zone    DMA32    12   3 ...: the number of free blocks of each order */
static void read_buddy(void)
{
	const char *line, *p;
	long long n;
	int order;

	if (!slurp(buddy_fd))
		return;
	set(&buddy[LOW_PAGES], 0);
	set(&buddy[HIGH_BLOCKS], 0);
	for (line = text; (p = strstr(line, "zone")); line = p) {
		p += strlen("zone");
		p += strspn(p, " ");
		p += strcspn(p, "\n ");
		for (order = 0; ; order++) {
			const char *next = get_number(p + strspn(p, " "), &n);

			if (!next)
				break;
			p = next;
			if (order <= 3)
				buddy[LOW_PAGES].value += n << order;
			else if (order >= 9)
				buddy[HIGH_BLOCKS].value += n;
		}
	}
}

static bool usable(const char *name, size_t len)
{
	static const char good[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";

	return len && len + strlen("stat.") <= NAME_MAX_LEN && strspn(name, good) == len;
}

static struct column *stat_column(const char *name, size_t len)
{
	size_t prefix = strlen("stat."), i;

	if (!usable(name, len))
		return NULL;
	for (i = 0; i < nr_stats; i++)
		if (!strncmp(stat_names[i] + prefix, name, len) && !stat_names[i][prefix + len])
			return &stats[i];
	if (nr_stats == STATS_MAX)
		return NULL;
	memcpy(stat_names[nr_stats], "stat.", prefix);
	memcpy(stat_names[nr_stats] + prefix, name, len);
	stats[nr_stats].name = stat_names[nr_stats];
	new_columns = true;
	return &stats[nr_stats++];
}

/*
 * Opened anew each time, unlike the others: it comes and goes with a module,
 * and a file of debugfs that is held open keeps its module from being removed.
 */
static void read_stats(void)
{
	const char *at = text, *name;
	struct column *c;
	long long value;
	bool read;
	char **path;
	size_t len;
	int fd = -1;

	for (path = stats_paths; *path && fd < 0; path++)
		fd = open(*path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	read = slurp(fd);
	close(fd);
	if (!read)
		return;
	while (next_pair(&at, &name, &len, &value)) {
		if (name[len] != '=')
			continue;
		c = stat_column(name, len);
		if (c)
			set(c, value);
	}
}

static void forget(struct column *c, size_t nr)
{
	for (; nr--; c++)
		c->present = false;
}

/* Returns the time at which it began. */
static long long take_sample(void)
{
	long long began = now(CLOCK_MONOTONIC);

	forget(meminfo, ARRAY_SIZE(meminfo));
	forget(vmstat, ARRAY_SIZE(vmstat));
	forget(psi, ARRAY_SIZE(psi));
	forget(buddy, ARRAY_SIZE(buddy));
	forget(stats, nr_stats);
	/* What counts time goes first, what makes the kernel allocate last. */
	read_psi();
	read_pairs(meminfo_fd, meminfo, ARRAY_SIZE(meminfo));
	read_buddy();
	read_pairs(vmstat_fd, vmstat, ARRAY_SIZE(vmstat));
	read_stats();
	set(&self[TOOK], (now(CLOCK_MONOTONIC) - began) / NSEC_PER_USEC);
	set(&self[CPU], now(CLOCK_PROCESS_CPUTIME_ID) / NSEC_PER_USEC);

	if (new_columns) {
		put_text("time_ms");
		put_names(self, ARRAY_SIZE(self));
		put_names(meminfo, ARRAY_SIZE(meminfo));
		put_names(vmstat, ARRAY_SIZE(vmstat));
		put_names(psi, ARRAY_SIZE(psi));
		put_names(buddy, ARRAY_SIZE(buddy));
		put_names(stats, nr_stats);
		put_text("\n");
		new_columns = false;
	}
	put_number(began / NSEC_PER_MSEC);
	put_values(self, ARRAY_SIZE(self));
	put_values(meminfo, ARRAY_SIZE(meminfo));
	put_values(vmstat, ARRAY_SIZE(vmstat));
	put_values(psi, ARRAY_SIZE(psi));
	put_values(buddy, ARRAY_SIZE(buddy));
	put_values(stats, nr_stats);
	put_text("\n");
	samples++;
	unwritten++;
	return began;
}

/* ---- the run ---- */

static long long rss_kib(void)
{
	int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
	long long size, resident = 0;
	const char *p;

	if (slurp(fd)) {
		p = get_number(text, &size);
		if (p)
			get_number(p + 1, &resident);
	}
	if (fd >= 0)
		close(fd);
	return resident * (sysconf(_SC_PAGESIZE) / 1024);
}

static void protect(void)
{
	static const char score[] = "-1000";
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, score, strlen(score)) < 0)
		fprintf(stderr, "sampler: the OOM killer may choose it: %s\n", strerror(errno));
	if (fd >= 0)
		close(fd);
	/*
	 * What a sample needs has been touched by now. That is locked, and what
	 * will be touched yet; not the whole of the C library and the buffers.
	 */
	if (mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT))
		fprintf(stderr, "sampler: its memory may be reclaimed: %s\n", strerror(errno));
}

static void open_all(const char *path)
{
	out_fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	if (out_fd < 0) {
		fprintf(stderr, "sampler: cannot write %s: %s\n", path, strerror(errno));
		exit(1);
	}
	meminfo_fd = open("/proc/meminfo", O_RDONLY | O_CLOEXEC);
	vmstat_fd = open("/proc/vmstat", O_RDONLY | O_CLOEXEC);
	psi_fd = open("/proc/pressure/memory", O_RDONLY | O_CLOEXEC);
	buddy_fd = open("/proc/buddyinfo", O_RDONLY | O_CLOEXEC);
	if (meminfo_fd < 0) {
		fprintf(stderr, "sampler: cannot read /proc/meminfo: %s\n", strerror(errno));
		exit(1);
	}
}

/* A round for nothing: touches the pages, makes the kernel allocate its buffers. */
static void warm_up(void)
{
	take_sample();
	memset(out, 0, 2 * ROOM);
	out_len = 0;
	samples = 0;
	new_columns = true;
}

/*
 * The slot to wait for. One that passed less than half an interval ago is
 * taken late; one that comes less than half an interval after the last sample
 * is left out.
 */
static long long next_slot(long long slot, long long interval, long long began)
{
	long long latest = now(CLOCK_MONOTONIC) - interval / 2;
	long long least = began + interval / 2, skip;

	slot += interval;
	if (least < latest)
		least = latest;
	if (slot >= least)
		return slot;
	skip = (least - slot + interval - 1) / interval;
	missed += skip;
	return slot + skip * interval;
}

static void sample_until_told(long long interval)
{
	long long slot = now(CLOCK_MONOTONIC), flushed = slot, began;
	struct timespec ts;

	while (!stop) {
		began = take_sample();
		if (samples == 1 || began + interval - flushed > BATCH_NS ||
		    out_len > sizeof(out) - 3 * ROOM) {
			flush();
			flushed = began;
		}
		slot = next_slot(slot, interval, began);
		ts.tv_sec = slot / NSEC_PER_SEC;
		ts.tv_nsec = slot % NSEC_PER_SEC;
		while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL) == EINTR && !stop)
			;
	}
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_handler = on_signal };
	long long interval = 100;

	if (argc < 3 || get_number(argv[2], &interval) != strchr(argv[2], 0) ||
	    interval < 10 || interval > 10000) {
		fprintf(stderr, "usage: sampler OUT INTERVAL_MS [STATSFILE...]; 10 to 10000 ms\n");
		return 2;
	}
	stats_paths = argv + 3;
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGHUP, &action, NULL);
	open_all(argv[1]);
	warm_up();
	protect();

	put_field("# ttm-sampler 1 interval_ms=", interval);
	put_field(" page_bytes=", sysconf(_SC_PAGESIZE));
	put_field(" rss_kib=", rss_kib());
	put_text("\n");
	sample_until_told(interval * NSEC_PER_MSEC);

	put_field("# end samples=", samples);
	put_field(" missed=", missed);
	put_field(" dropped=", dropped);
	put_field(" rss_kib=", rss_kib());
	put_field(" cpu_us=", now(CLOCK_PROCESS_CPUTIME_ID) / NSEC_PER_USEC);
	put_text("\n");
	flush();
	return out_len ? 1 : 0;
}
