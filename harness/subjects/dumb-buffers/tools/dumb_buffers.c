// SPDX-License-Identifier: GPL-2.0-only
/*
 * Buffers of a DRM device, filled, pressed and read back through its ioctls:
 *   dumb_buffers DRIVER list
 *   dumb_buffers DRIVER CASE SEED
 * DRIVER is called as the kernel calls it (qxl, vkms, virtio_gpu). Every word of a
 * buffer follows from the seed, the buffer and its place in it, and every one is
 * compared. A case prints NAME=NUMBER for its figures and "# WORDS" for what is
 * wrong. Status 0: all is well, 1: something is wrong, 77: it cannot be run, and
 * a line "skip: WHY" says why.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096UL
#define MIB 1048576UL
#define MOST 4096	/* buffers of a process */
#define PATIENCE_MS 120000	/* for what another process does, on a slow machine */
#define SLACK (2 * MIB / PAGE)	/* pages that come and go by themselves */
#define TT_SHRINK "/sys/kernel/debug/ttm/tt_shrink"
#define OBJECTS "/sys/kernel/debug/ttm/buffer_objects"
#define LIMIT "/sys/module/ttm/parameters/pages_limit"

enum { GOOD = 0, BAD = 1, SKIPPED = 77 };

/* The kernel's interface, as far as it is used here. */
struct version {
	int major, minor, patch;
	size_t name_length;
	char *name;
	size_t date_length;
	char *date;
	size_t words_length;
	char *words;
};

struct create_dumb {
	uint32_t height, width, bpp, flags, handle, pitch;
	uint64_t size;
};

struct map_dumb {
	uint32_t handle, pad;
	uint64_t offset;
};

struct gem_close {
	uint32_t handle, pad;
};

struct gem_flink {
	uint32_t handle, name;
};

struct gem_open {
	uint32_t name, handle;
	uint64_t size;
};

struct mode {
	uint32_t clock;
	uint16_t horizontal[5], vertical[5];
	uint32_t refresh, flags, type;
	char name[32];
};

struct resources {
	uint64_t fbs, crtcs, connectors, encoders;
	uint32_t count_fbs, count_crtcs, count_connectors, count_encoders;
	uint32_t least_width, most_width, least_height, most_height;
};

struct connector {
	uint64_t encoders, modes, props, values;
	uint32_t count_modes, count_props, count_encoders, encoder, id, type, type_id;
	uint32_t connection, mm_width, mm_height, subpixel, pad;
};

struct crtc {
	uint64_t connectors;
	uint32_t count_connectors, id, fb, x, y, gamma, mode_valid;
	struct mode mode;
};

struct framebuffer {
	uint32_t id, width, height, pitch, bpp, depth, handle;
};

struct qxl_alloc {
	uint32_t size, handle;
};

struct qxl_map {
	uint64_t offset;
	uint32_t handle, pad;
};

#define VERSION _IOWR('d', 0x00, struct version)
#define GEM_CLOSE _IOW('d', 0x09, struct gem_close)
#define GEM_FLINK _IOWR('d', 0x0a, struct gem_flink)
#define GEM_OPEN _IOWR('d', 0x0b, struct gem_open)
#define GETRESOURCES _IOWR('d', 0xa0, struct resources)
#define SETCRTC _IOWR('d', 0xa2, struct crtc)
#define GETCONNECTOR _IOWR('d', 0xa7, struct connector)
#define ADDFB _IOWR('d', 0xae, struct framebuffer)
#define RMFB _IOWR('d', 0xaf, uint32_t)
#define CREATE_DUMB _IOWR('d', 0xb2, struct create_dumb)
#define MAP_DUMB _IOWR('d', 0xb3, struct map_dumb)
#define DESTROY_DUMB _IOWR('d', 0xb4, uint32_t)
#define QXL_ALLOC _IOWR('d', 0x40, struct qxl_alloc)
#define QXL_MAP _IOWR('d', 0x41, struct qxl_map)

struct buffer {
	uint32_t handle, pitch;
	uint64_t size, key;
	uint64_t *words;	/* where it is mapped; NULL where it is not */
};

/* What is known of a driver: whose memory it takes, and whether that can go while it is used. */
struct driver {
	const char *name;
	bool ttm;	/* buffers are TTM's: swapped out beyond its limit */
	bool pins;	/* pages stay where they are as long as the buffer is there */
	bool shows;	/* it has an output that is connected */
};

static const struct driver drivers[] = {
	{ .name = "qxl", .ttm = true, .shows = true },
	{ .name = "virtio_gpu", .pins = true },
	{ .name = "vkms" },
};

static const struct driver *driver;
static uint64_t seed;
static int card = -1;
static int wrong;
static bool *any_wrong;	/* of any process: one that is killed has no status of its own */

static void fail(const char *format, ...)
{
	va_list values;

	if (any_wrong)
		*any_wrong = true;
	if (++wrong > 8)
		return;
	printf("# ");
	va_start(values, format);
	vprintf(format, values);
	va_end(values);
	printf("\n");
	fflush(stdout);
}

/* Nothing can be tried without it. */
static void need(bool what, const char *words)
{
	if (what)
		return;
	fail("%s: %s", words, strerror(errno));
	exit(BAD);
}

static void leave_out(const char *why)
{
	printf("skip: %s\n", why);
	exit(SKIPPED);
}

static void figure(const char *name, long value)
{
	printf("%s=%ld\n", name, value);
	fflush(stdout);
}

/* ---- what the kernel says of its memory, in pages ---- */

/* The number behind a word at the beginning of a line; -1 where there is none. */
static long number(const char *path, const char *word)
{
	char line[256];
	long found = -1;
	FILE *file = fopen(path, "r");

	if (!file)
		return -1;
	while (found < 0 && fgets(line, sizeof(line), file))
		if (!strncmp(line, word, strlen(word)))
			sscanf(line + strlen(word), " %ld", &found);
	fclose(file);
	return found;
}

static long vm_counter(const char *name)
{
	return number("/proc/vmstat", name);
}

static long mem_pages(const char *name)
{
	return number("/proc/meminfo", name) / 4;
}

/* What lies free on the lists of the CPUs. */
static long on_cpu_lists(void)
{
	char line[128];
	long sum = 0, one;
	FILE *file = fopen("/proc/zoneinfo", "r");

	if (!file)
		return 0;
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, " count: %ld", &one) == 1)
			sum += one;
	fclose(file);
	return sum;
}

static long free_pages(void)
{
	return mem_pages("MemFree:") + on_cpu_lists();
}

/* What nobody says he has: buffers that lie in RAM are in it. */
static long unaccounted(void)
{
	static const char * const names[] = {
		"Buffers:", "Cached:", "SwapCached:", "AnonPages:", "Slab:", "KernelStack:",
		"PageTables:",
	};
	long sum = mem_pages("MemTotal:") - free_pages();

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		sum -= mem_pages(names[i]);
	return sum;
}

static long swap_used(void)
{
	return mem_pages("SwapTotal:") - mem_pages("SwapFree:");
}

/* Where buffers are that are not in RAM of their own. */
static long moved_out(void)
{
	return vm_counter("nr_shmem ") + swap_used();
}

struct state {
	long objects, shmem, unaccounted, out, in;
};

static struct state state(void)
{
	return (struct state){
		.objects = number(OBJECTS, ""),
		.shmem = vm_counter("nr_shmem "),
		.unaccounted = unaccounted(),
		.out = vm_counter("pswpout "),
		.in = vm_counter("pswpin "),
	};
}

/* All is as it was: at once, or when TTM's workers and the lists of the CPUs have come round. */
static void settled(struct state *before, long keeps)
{
	struct state now;
	int tries = 0;

	before->objects += keeps;

	do {
		now = state();
		if (now.objects <= before->objects && now.shmem <= before->shmem + 64 &&
		    now.unaccounted <= before->unaccounted + (long)SLACK)
			return;
		usleep(100000);
	} while (++tries < 100);
	if (now.objects > before->objects)
		fail("ttm/buffer_objects: %ld before, %ld left", before->objects, now.objects);
	if (now.shmem > before->shmem + 64)
		fail("pages of shared memory: %ld before, %ld left", before->shmem, now.shmem);
	if (now.unaccounted > before->unaccounted + (long)SLACK)
		fail("pages that nobody has: %ld before, %ld left", before->unaccounted,
		     now.unaccounted);
}

/* ---- TTM ---- */

static void set_limit(long pages)
{
	FILE *file = fopen(LIMIT, "w");

	need(file && fprintf(file, "%ld\n", pages) > 0 && !fclose(file), LIMIT);
}

/* TTM swaps out one object for each read; until there is no more. Returns pages. */
static long shrink(void)
{
	long sum = 0, one;

	for (int reads = 0; reads < 4 * MOST; reads++) {
		one = number(TT_SHRINK, "");
		if (one == -1)
			need(false, TT_SHRINK);
		if (one <= 0)
			return sum;
		sum += one;
	}
	fail("%s does not come to an end", TT_SHRINK);
	return sum;
}

/* ---- buffers ---- */

static uint64_t mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15ULL;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
	return x ^ (x >> 31);
}

static uint64_t chance(void)
{
	static uint64_t drawn;

	return mix(seed ^ mix(++drawn ^ getpid()));
}

/* Cheap, and no two words of two buffers are the same but by chance. */
static uint64_t word(const struct buffer *buffer, size_t at)
{
	uint64_t x = buffer->key + at * 0x9e3779b97f4a7c15ULL;

	return x ^ (x >> 29);
}

static int open_card(void)
{
	char path[32], name[32];

	for (int i = 0; i < 16; i++) {
		struct version version = { .name = name, .name_length = sizeof(name) - 1 };
		int file;

		snprintf(path, sizeof(path), "/dev/dri/card%d", i);
		file = open(path, O_RDWR | O_CLOEXEC);
		if (file < 0)
			continue;
		memset(name, 0, sizeof(name));
		if (!ioctl(file, VERSION, &version) && !strcmp(name, driver->name))
			return file;
		close(file);
	}
	return -1;
}

static void *map_at(uint64_t offset, uint64_t size)
{
	void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, card, offset);

	need(at != MAP_FAILED, "a buffer could not be mapped");
	return at;
}

static void map(struct buffer *buffer)
{
	struct map_dumb map = { .handle = buffer->handle };

	if (buffer->words)
		return;
	need(!ioctl(card, MAP_DUMB, &map), "MAP_DUMB");
	buffer->words = map_at(map.offset, buffer->size);
}

static void unmap(struct buffer *buffer)
{
	if (buffer->words)
		munmap(buffer->words, buffer->size);
	buffer->words = NULL;
}

static struct buffer create(uint32_t width, uint32_t height, uint32_t bpp)
{
	struct create_dumb dumb = { .width = width, .height = height, .bpp = bpp };
	struct buffer buffer = { 0 };

	need(!ioctl(card, CREATE_DUMB, &dumb), "CREATE_DUMB");
	buffer.handle = dumb.handle;
	buffer.pitch = dumb.pitch;
	buffer.size = (dumb.size + PAGE - 1) & ~(PAGE - 1);
	if (dumb.size < (uint64_t)dumb.pitch * height || dumb.pitch < width * bpp / 8)
		fail("%ux%u with %u bits: pitch %u, size %lu", width, height, bpp, dumb.pitch,
		     (unsigned long)dumb.size);
	map(&buffer);
	return buffer;
}

static void destroy(struct buffer *buffer)
{
	unmap(buffer);
	need(!ioctl(card, DESTROY_DUMB, &buffer->handle), "DESTROY_DUMB");
}

static void fill(struct buffer *buffer)
{
	buffer->key = chance();
	map(buffer);
	for (size_t i = 0; i < buffer->size / 8; i++)
		buffer->words[i] = word(buffer, i);
}

static void verify_page(const struct buffer *buffer, size_t page, const char *when)
{
	size_t first = page * (PAGE / 8);

	for (size_t i = first; i < first + PAGE / 8; i++) {
		if (buffer->words[i] == word(buffer, i))
			continue;
		fail("%s: buffer %u, page %zu of %zu, word %zu: expected %016lx, got %016lx", when,
		     buffer->handle, page, (size_t)buffer->size / PAGE, i - first,
		     (unsigned long)word(buffer, i), (unsigned long)buffer->words[i]);
		return;
	}
}

/* One line for each page that is not as it was written. */
static void verify(struct buffer *buffer, const char *when)
{
	map(buffer);
	for (size_t page = 0; page < buffer->size / PAGE; page++)
		verify_page(buffer, page, when);
}

static void verify_zero(struct buffer *buffer)
{
	for (size_t i = 0; i < buffer->size / 8; i++) {
		if (!buffer->words[i])
			continue;
		fail("a new buffer of %zu bytes: word %zu is not zero", (size_t)buffer->size, i);
		return;
	}
}

struct buffers {
	size_t count;
	struct buffer of[MOST];
};

/* Buffers of 1 MiB, filled; left mapped or not. */
static struct buffers *make_many(size_t count, bool mapped)
{
	struct buffers *all = calloc(1, sizeof(*all));

	need(all && count <= MOST, "too many buffers");
	for (; all->count < count; all->count++) {
		struct buffer *one = &all->of[all->count];

		*one = create(512, 512, 32);
		fill(one);
		if (!mapped)
			unmap(one);
	}
	return all;
}

static void verify_all(struct buffers *all, const char *when)
{
	for (size_t i = 0; i < all->count; i++)
		verify(&all->of[i], when);
}

static void destroy_all(struct buffers *all)
{
	for (size_t i = 0; i < all->count; i++)
		destroy(&all->of[i]);
	free(all);
}

/* Reads and writes in an order by chance; returns the most pages beyond `before` that were out. */
static long work_on(struct buffers *all, int rounds, bool stay_mapped, long before)
{
	long most = 0, now;

	for (size_t i = 0; i < all->count * rounds; i++) {
		struct buffer *one = &all->of[chance() % all->count];

		verify(one, "in use");
		if (chance() % 2)
			fill(one);
		if (!stay_mapped)
			unmap(one);
		now = moved_out() - before;
		if (now > most)
			most = now;
	}
	return most;
}

/* ---- processes ---- */

/* A child that runs `body` with a card of its own; what it finds wrong is its status. */
static pid_t child(void (*body)(int tell, long number), int tell, long number)
{
	pid_t pid = fork();

	need(pid >= 0, "fork");
	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	close(card);
	card = open_card();
	need(card >= 0, "the card");
	wrong = 0;
	body(tell, number);
	exit(wrong ? BAD : GOOD);
}

static void expect_end(pid_t pid, int by_signal)
{
	int status;

	need(waitpid(pid, &status, 0) == pid, "waitpid");
	if (by_signal ? WIFSIGNALED(status) && WTERMSIG(status) == by_signal : status == 0)
		return;
	if (WIFSIGNALED(status))
		fail("a process was ended by signal %d", WTERMSIG(status));
	else
		fail("a process ended with status %d", WEXITSTATUS(status));
}

static bool told(int from)
{
	struct pollfd wait = { .fd = from, .events = POLLIN };
	char byte;

	if (poll(&wait, 1, PATIENCE_MS) == 1 && read(from, &byte, 1) == 1)
		return true;
	fail("another process did not come to the point");
	return false;
}

static void tell(int to)
{
	need(write(to, "", 1) == 1, "a pipe");
}

static void score(const char *text)
{
	int file = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (file < 0 || write(file, text, strlen(text)) < 0)
		fail("oom_score_adj: %s", strerror(errno));
	if (file >= 0)
		close(file);
}

/*
 * Somebody who takes memory, and keeps it until the pipe closes. Where it is locked, others have to
 * make room.
 */
static pid_t start_hog(long pages, bool locked, int ready[2], int stop[2])
{
	pid_t pid;
	char byte;

	need(!pipe2(ready, O_CLOEXEC) && !pipe2(stop, O_CLOEXEC), "pipe");
	pid = fork();
	need(pid >= 0, "fork");
	if (pid) {
		close(stop[0]);
		return pid;
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	score("1000");
	close(stop[1]);
	close(card);
	for (long done = 0; done < pages; done += MIB / PAGE) {
		uint64_t *at = mmap(NULL, MIB, PROT_READ | PROT_WRITE,
				    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		need(at != MAP_FAILED && (!locked || !mlock(at, MIB)), "memory for the hog");
		for (size_t i = 0; i < MIB / 8; i += PAGE / 8)
			at[i] = mix(i ^ done);
	}
	tell(ready[1]);
	if (read(stop[0], &byte, 1) < 0)
		exit(BAD);
	exit(GOOD);
}

/* ---- cases ---- */

/* Sizes that are no whole pages, and of one to many; new ones have nothing of others in them. */
static void case_create(void)
{
	static const uint32_t sizes[][3] = {
		{ 32, 32, 32 }, { 33, 17, 32 }, { 1, 1, 32 }, { 640, 481, 32 }, { 1023, 769, 32 },
		{ 2048, 1024, 32 },
	};

	for (int round = 0; round < 4; round++) {
		struct buffer all[sizeof(sizes) / sizeof(*sizes)];
		struct map_dumb gone = { 0 };

		for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
			all[i] = create(sizes[i][0], sizes[i][1], sizes[i][2]);
			verify_zero(&all[i]);
			fill(&all[i]);
			unmap(&all[i]);
		}
		for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
			verify(&all[i], "mapped again");
			destroy(&all[i]);
		}
		gone.handle = all[0].handle;
		if (!ioctl(card, MAP_DUMB, &gone))
			fail("a buffer that was destroyed can be mapped");
	}
}

/* All is swapped out, as often as somebody asks: read, changed, and freed while it is out. */
static void case_tt_shrink(void)
{
	struct buffers *all = make_many(24, true);
	long pages = 24 * MIB / PAGE, shmem = vm_counter("nr_shmem "), sum = shrink(), more;

	more = vm_counter("nr_shmem ") - shmem;
	figure("swapped_out", sum);
	if (sum != pages)
		fail("pages that tt_shrink swapped out: expected %ld, got %ld", pages, sum);
	if (more < sum - 64 || more > sum + 64)
		fail("pages of shared memory: expected %ld more, got %ld", sum, more);
	for (size_t i = 0; i < all->count; i += 2)
		fill(&all->of[i]);
	verify_all(all, "swapped in");
	more = vm_counter("nr_shmem ") - shmem;
	if (more > 64)
		fail("pages of shared memory after all came back: expected none, got %ld", more);
	sum = shrink();
	if (sum != pages)
		fail("pages that tt_shrink swapped out again: expected %ld, got %ld", pages, sum);
	verify(&all->of[0], "swapped in again");
	destroy_all(all);
}

/* What fits into TTM's limit stays, one more sends something out; and again when all was freed. */
static void case_limit_exact(void)
{
	set_limit(16 * MIB / PAGE);
	for (int round = 0; round < 2; round++) {
		struct buffers *all;
		struct buffer more;
		long before = moved_out(), out;

		all = make_many(16, true);
		out = moved_out() - before;
		if (out > 64)
			fail("round %d: %ld pages are out, though all fit into the limit", round,
			     out);
		more = create(512, 512, 32);
		fill(&more);
		out = moved_out() - before;
		if (out < (long)(MIB / PAGE) - 64 || out > (long)(2 * MIB / PAGE))
			fail("round %d: beyond the limit by %lu pages, %ld are out", round,
			     MIB / PAGE, out);
		if (!round)
			figure("swapped_out", out);
		verify_all(all, "beside the limit");
		verify(&more, "beyond the limit");
		destroy(&more);
		destroy_all(all);
	}
}

/* Four times as much as TTM may have, in and out again in any order. */
static void case_limit(void)
{
	struct buffers *all;
	long before = moved_out();

	set_limit(6 * MIB / PAGE);
	all = make_many(24, true);
	figure("swapped_out", work_on(all, 2, true, before));
	verify_all(all, "at the end");
	destroy_all(all);
}

/* A buffer of two processes, each with a mapping of its own: both see what the other wrote last. */
static uint32_t shared_name;
static int to_child[2], to_parent[2];

static void press(void)
{
	if (driver->ttm)
		figure("swapped_out", shrink());
}

static void sharer(int tell_to, long rounds)
{
	struct gem_open open_it = { .name = shared_name };
	struct buffer own = { 0 };

	close(to_child[1]);
	need(!ioctl(card, GEM_OPEN, &open_it), "GEM_OPEN");
	own.handle = open_it.handle;
	own.size = open_it.size;
	for (long i = 0; i < rounds; i++) {
		if (!told(to_child[0]))
			return;
		own.key = mix(seed + i);
		verify(&own, "what the other wrote");
		press();
		own.key = mix(~seed + i);
		for (size_t at = 0; at < own.size / 8; at++)
			own.words[at] = word(&own, at);
		press();
		tell(tell_to);
	}
}

static void case_shared(void)
{
	struct buffer own = create(512, 512, 32);
	struct gem_flink flink = { .handle = own.handle };
	pid_t pid;

	need(!ioctl(card, GEM_FLINK, &flink), "GEM_FLINK");
	shared_name = flink.name;
	need(!pipe2(to_child, O_CLOEXEC) && !pipe2(to_parent, O_CLOEXEC), "pipe");
	pid = child(sharer, to_parent[1], 4);
	close(to_child[0]);
	for (int i = 0; i < 4; i++) {
		own.key = mix(seed + i);
		for (size_t at = 0; at < own.size / 8; at++)
			own.words[at] = word(&own, at);
		press();
		tell(to_child[1]);
		if (!told(to_parent[0]))
			break;
		own.key = mix(~seed + i);
		verify(&own, "what the other wrote");
	}
	close(to_child[1]);
	expect_end(pid, 0);
	destroy(&own);
}

static struct crtc find_output(struct mode *mode, uint32_t *connector)
{
	uint32_t crtcs[8], connectors[8];
	struct mode modes[64];
	struct resources found = {
		.crtcs = (uintptr_t)crtcs, .count_crtcs = 8,
		.connectors = (uintptr_t)connectors, .count_connectors = 8,
	};
	struct connector one = { .modes = (uintptr_t)modes };

	need(!ioctl(card, GETRESOURCES, &found), "GETRESOURCES");
	need(found.count_crtcs && found.count_connectors, "an output");
	one.id = connectors[0];
	need(!ioctl(card, GETCONNECTOR, &one) && one.count_modes, "modes"); /* probes, and counts */
	one.count_modes = one.count_modes < 64 ? one.count_modes : 64;
	one.count_props = 0;
	one.count_encoders = 0;
	need(!ioctl(card, GETCONNECTOR, &one), "modes");
	*mode = modes[0];
	*connector = one.id;
	return (struct crtc){ .id = crtcs[0] };
}

/* What is on the screen stays in memory when all else goes. */
static void case_scanout(void)
{
	struct mode mode;
	uint32_t connector;
	struct crtc crtc = find_output(&mode, &connector);
	struct buffer shown = create(mode.horizontal[0], mode.vertical[0], 32);
	struct framebuffer fb = {
		.width = mode.horizontal[0], .height = mode.vertical[0], .pitch = shown.pitch,
		.bpp = 32, .depth = 24, .handle = shown.handle,
	};
	struct buffers *all = make_many(8, true);
	long sum, pages = 8 * MIB / PAGE, own = shown.size / PAGE;

	fill(&shown);
	shrink();
	need(!ioctl(card, ADDFB, &fb), "ADDFB");
	crtc.fb = fb.id;
	crtc.connectors = (uintptr_t)&connector;
	crtc.count_connectors = 1;
	crtc.mode = mode;
	crtc.mode_valid = 1;
	need(!ioctl(card, SETCRTC, &crtc), "SETCRTC");
	verify(&shown, "on the screen");
	verify_all(all, "beside the screen");
	sum = shrink();
	figure("swapped_out", sum);
	if (sum != pages)
		fail("pages that are not on the screen: expected %ld swapped out, got %ld", pages,
		     sum);
	verify(&shown, "on the screen");
	need(!ioctl(card, RMFB, &fb.id), "RMFB");
	sum = shrink();
	if (sum != own)
		fail("pages that were on the screen: expected %ld swapped out, got %ld", own, sum);
	verify(&shown, "off the screen");
	verify_all(all, "at the end");
	destroy(&shown);
	destroy_all(all);
}

/* More than the device has of its own memory: TTM evicts to system memory and swaps out. */
static void case_vram(void)
{
	struct buffers *all = calloc(1, sizeof(*all));
	long sum;

	need(all, "memory");
	for (; all->count < 48; all->count++) {
		struct buffer *one = &all->of[all->count];
		struct qxl_alloc alloc = { .size = MIB };
		struct qxl_map where = { 0 };

		need(!ioctl(card, QXL_ALLOC, &alloc), "QXL_ALLOC");
		where.handle = alloc.handle;
		need(!ioctl(card, QXL_MAP, &where), "QXL_MAP");
		*one = (struct buffer){ .handle = alloc.handle, .size = MIB };
		one->words = map_at(where.offset, MIB);
		fill(one);
	}
	sum = shrink();
	figure("swapped_out", sum);
	verify_all(all, "evicted, and swapped in");
	for (size_t i = 0; i < all->count; i++)
		fill(&all->of[i]);
	shrink();
	verify_all(all, "evicted, and swapped in again");
	for (size_t i = 0; i < all->count; i++) {
		struct gem_close gone = { .handle = all->of[i].handle };

		unmap(&all->of[i]);
		need(!ioctl(card, GEM_CLOSE, &gone), "GEM_CLOSE");
	}
	free(all);
}

static int signals;

static void on_signal(int signal)
{
	if (signal == SIGALRM)
		__atomic_add_fetch(&signals, 1, __ATOMIC_RELAXED);
}

/* Page faults that a signal ends begin again, and nothing is lost by it. */
static void case_signals(void)
{
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
	struct itimerval often = { { 0, 3000 }, { 0, 3000 } }, never = { 0 };
	struct buffers *all;
	long before = moved_out(), out;

	if (driver->ttm)
		set_limit(4 * MIB / PAGE);
	all = make_many(12, false);
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &often, NULL);
	out = work_on(all, 2, false, before);
	setitimer(ITIMER_REAL, &never, NULL);
	figure("signals", signals);
	if (driver->ttm)
		figure("swapped_out", out);
	if (!signals)
		fail("no signal came");
	verify_all(all, "at the end");
	destroy_all(all);
}

static int go[2];

/*
 * A process of several: its share, in use for so many rounds (-1: until somebody ends it). After
 * the first it waits for the others.
 */
static void user(int tell_to, long rounds)
{
	struct buffers *all = make_many(6, false);
	long done = 0;

	while (done != rounds) {
		work_on(all, 1, done % 2, 0);
		if (!done++) {
			tell(tell_to);
			told(go[0]);
		}
		if (wrong)
			break;
	}
	verify_all(all, "at the end");
	destroy_all(all);
}

#define USERS 4

static void run_users(int victim)
{
	pid_t users[USERS];
	int from[2];
	long before = moved_out();

	need(!pipe2(from, O_CLOEXEC) && !pipe2(go, O_CLOEXEC), "pipe");
	if (driver->ttm)
		set_limit(8 * MIB / PAGE);
	for (int i = 0; i < USERS; i++)
		users[i] = child(user, from[1], i == victim ? -1 : 3);
	for (int i = 0; i < USERS && told(from[0]); i++)
		;
	if (driver->ttm)
		figure("swapped_out", moved_out() - before);
	for (int i = 0; i < USERS; i++)
		tell(go[1]);
	if (victim >= 0) {
		usleep(chance() % 50000);
		kill(users[victim], SIGKILL);
	}
	if (wrong)
		for (int i = 0; i < USERS; i++)
			kill(users[i], SIGKILL);
	for (int i = 0; i < USERS; i++)
		expect_end(users[i], i == victim ? SIGKILL : 0);
}

static void case_processes(void)
{
	run_users(-1);
}

/* One of them is killed in the middle of it: it leaves nothing, and the others notice nothing. */
static void case_killed(void)
{
	run_users(seed % USERS);
}

/*
 * A hog beside the buffers takes what RAM there is. Where buffers can go to swap its memory is
 * locked, so that it is they who have to; where they cannot, the hog goes, and they stay.
 */
static void case_hog(void)
{
	long free = free_pages(), before = swap_used(), bytes = free * PAGE;
	int ready[2], stop[2];
	size_t count = bytes / 8 * (driver->pins ? 3 : 4) / MIB;
	struct buffers *all;
	pid_t pid;

	if (mem_pages("SwapFree:") < free / 2)
		leave_out("needs swap space, half as much as is free in RAM");
	if (count > MOST)
		leave_out("has more buffers to make in this RAM than it can: take less than 8 GiB");
	if (driver->ttm)
		set_limit(free / 16);
	all = make_many(count, false);
	pid = start_hog(driver->pins ? free : free / 8 * 5, !driver->pins, ready, stop);
	close(ready[1]);
	told(ready[0]);
	figure("swapped_out", swap_used() - before);
	for (size_t i = 0; i < all->count; i++) {
		verify(&all->of[i], "beside the hog");
		unmap(&all->of[i]); /* while it is mapped, the shmem helper's pages stay */
	}
	close(stop[1]);
	expect_end(pid, 0);
	destroy_all(all);
}

/* `keeps`: so many objects at most are the driver's own afterwards, for the next screen. */
static const struct one_case {
	const char *name;
	void (*run)(void);
	bool of_ttm, of_qxl;
	long keeps;
} cases[] = {
	{ .name = "create", .run = case_create },
	{ .name = "tt_shrink", .run = case_tt_shrink, .of_ttm = true },
	{ .name = "limit_exact", .run = case_limit_exact, .of_ttm = true },
	{ .name = "limit", .run = case_limit, .of_ttm = true },
	{ .name = "shared", .run = case_shared },
	{ .name = "scanout", .run = case_scanout, .of_qxl = true, .keeps = 8 },
	{ .name = "vram", .run = case_vram, .of_qxl = true },
	{ .name = "signals", .run = case_signals },
	{ .name = "processes", .run = case_processes },
	{ .name = "killed", .run = case_killed },
	{ .name = "hog", .run = case_hog },
};

static bool fits(size_t i)
{
	return driver->ttm || !(cases[i].of_ttm || cases[i].of_qxl);
}

/* The case is a process of its own, so that what it leaves behind is seen, and how it ended. */
static int run(const struct one_case *one)
{
	long limit = driver->ttm ? number(LIMIT, "") : 0;
	struct state before = state(), after;
	void *shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int status;
	pid_t pid;

	need(shared != MAP_FAILED, "memory");
	any_wrong = shared;
	pid = fork();
	need(pid >= 0, "fork");
	if (!pid) {
		card = open_card();
		if (card < 0)
			leave_out("there is no card of this driver");
		score("500");
		one->run();
		exit(wrong ? BAD : GOOD);
	}
	need(waitpid(pid, &status, 0) == pid, "waitpid");
	if (limit > 0)
		set_limit(limit);
	if (WIFEXITED(status) && WEXITSTATUS(status) == SKIPPED && !*any_wrong)
		return SKIPPED;
	if (driver->ttm && before.objects < 0)
		fail("%s cannot be read", OBJECTS);
	if (WIFSIGNALED(status))
		fail("ended by signal %d", WTERMSIG(status));
	settled(&before, one->keeps);
	after = state();
	figure("pswpout", after.out - before.out);
	figure("pswpin", after.in - before.in);
	return *any_wrong || status ? BAD : GOOD;
}

int main(int argc, char **argv)
{
	for (size_t i = 0; argc > 2 && i < sizeof(drivers) / sizeof(*drivers); i++)
		if (!strcmp(drivers[i].name, argv[1]))
			driver = &drivers[i];
	if (!driver) {
		fprintf(stderr, "usage: dumb_buffers DRIVER list|CASE SEED\n");
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		if (!fits(i))
			continue;
		if (!strcmp(argv[2], "list")) {
			puts(cases[i].name);
		} else if (argc == 4 && !strcmp(argv[2], cases[i].name)) {
			seed = mix(strtoull(argv[3], NULL, 0));
			return run(&cases[i]);
		}
	}
	return strcmp(argv[2], "list") ? 2 : GOOD;
}
