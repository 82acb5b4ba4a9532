// SPDX-License-Identifier: GPL-2.0-only
/*
 * facts: what this guest is, read from the kernel and not from what was asked
 * for. A frame `@fact LENGTH NAME=VALUE` each on standard output, in one
 * write(), and `@facts-end LENGTH COUNT` behind the last one. To be run as a
 * process of the load is run: memory_max and memory_high are those of its own
 * cgroup.
 *
 * A program and not a script: in a script each file costs a process, and each
 * byte of what is read line by line two system calls.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#define PAGE 4096ULL
#define KIB 1024ULL
#define LONGEST 4096

static int count;

static void frame(const char *kind, const char *text)
{
	char whole[LONGEST + 64];
	int len;

	len = snprintf(whole, sizeof(whole), "@%s %zu %s\n", kind, strlen(text), text);
	/* What cannot be written is missing: the host sees it by the count. */
	if (write(STDOUT_FILENO, whole, len) < 0)
		return;
}

static void fact(const char *format, ...)
{
	char text[LONGEST];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	frame("fact", text);
	count++;
}

/* The file's text without the newlines at its end; empty where there is none. */
static char *content(const char *path)
{
	static char text[LONGEST];
	FILE *file = fopen(path, "re");
	size_t len = 0;

	if (file) {
		len = fread(text, 1, sizeof(text) - 1, file);
		fclose(file);
	}
	while (len && text[len - 1] == '\n')
		len--;
	text[len] = 0;
	return text;
}

static unsigned long long system_ram(void)
{
	unsigned long long start, end, sum = 0;
	char line[256], what[64];
	FILE *file = fopen("/proc/iomem", "re");

	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, " %llx-%llx : %63[^\n]", &start, &end, what) == 3 &&
		    !strcmp(what, "System RAM"))
			sum += end - start + 1;
	if (file)
		fclose(file);
	return sum;
}

/* What the CPUs have on lists of their own is free and not in MemFree. */
static unsigned long long free_pcp(void)
{
	unsigned long long pages, sum = 0;
	char line[256];
	FILE *file = fopen("/proc/zoneinfo", "re");

	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, " count: %llu", &pages) == 1)
			sum += pages * PAGE;
	if (file)
		fclose(file);
	return sum;
}

/* A line of /proc/meminfo, in bytes. */
static unsigned long long memory(const char *text, const char *name)
{
	unsigned long long value = 0;
	const char *line = strstr(text, name);

	if (line)
		sscanf(line + strlen(name), " %llu", &value);
	return value * KIB;
}

/* SIZE PRIORITY RATE ALGORITHM...: the sizes of /proc/swaps are KiB. */
static void area(const char *number, const char *device, const char *rate)
{
	unsigned long long size = 0, kib;
	char line[512], path[512], name[256];
	int priority = 0, found;
	FILE *file = fopen("/proc/swaps", "re");

	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "%255s %*s %llu %*u %d", name, &kib, &found) == 3 &&
		    !strcmp(name, device)) {
			size = kib * KIB;
			priority = found;
		}
	if (file)
		fclose(file);
	snprintf(path, sizeof(path), "/sys/block/%s/comp_algorithm",
		 strncmp(device, "/dev/", 5) ? device : device + 5);
	fact("swap%s=%llu %d %s %s", number, size, priority, rate, content(path));
}

static void every_area(void)
{
	char line[512], number[32], device[256], rate[32];
	FILE *file = fopen("/run/areas", "re");

	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "%31s %255s %31s", number, device, rate) == 3)
			area(number, device, rate);
	if (file)
		fclose(file);
}

/* Nothing from a kernel without zswap. */
static void zswap_settings(void)
{
	static const char *const names[] = { "enabled", "compressor", "max_pool_percent" };
	char path[128], text[256] = "";
	size_t i, len;

	for (i = 0; i < 3; i++) {
		snprintf(path, sizeof(path), "/sys/module/zswap/parameters/%s", names[i]);
		if (access(path, R_OK))
			break;
		len = strlen(text);
		snprintf(text + len, sizeof(text) - len, "%s%s", i ? " " : "", content(path));
	}
	fact("zswap=%s", text);
}

/* Of the own group of cgroup2; nothing where there is none. */
static void limit(const char *fact_name, const char *file)
{
	char path[512] = "";
	char *own = strstr(content("/proc/self/cgroup"), "0::");

	if (own) {
		own[strcspn(own, "\n")] = 0;
		snprintf(path, sizeof(path), "/sys/fs/cgroup%s/%s", own + 3, file);
	}
	fact("%s=%s", fact_name, content(path));
}

/* Those that the job names, a line each. */
static void sysctls(const char *job)
{
	char name[64], path[128];

	while (job && *job) {
		if (sscanf(job, "%63s", name) == 1) {
			snprintf(path, sizeof(path), "/proc/sys/vm/%s", name);
			fact("%s=%s", name, content(path));
		}
		job += strcspn(job, "\n");
		job += *job == '\n';
	}
}

/* VENDOR:DEVICE of all that is on the bus, where a device of the host is to be. */
static void pci_devices(void)
{
	char path[512], text[LONGEST - 64] = "";
	struct dirent *entry;
	DIR *bus = opendir("/sys/bus/pci/devices");
	unsigned long vendor, device;

	while (bus && (entry = readdir(bus))) {
		size_t len = strlen(text);

		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/vendor", entry->d_name);
		vendor = strtoul(content(path), NULL, 16);
		snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/device", entry->d_name);
		device = strtoul(content(path), NULL, 16);
		snprintf(text + len, sizeof(text) - len, "%s%04lx:%04lx", len ? " " : "", vendor,
			 device);
	}
	if (bus)
		closedir(bus);
	fact("pci=%s", text);
}

int main(void)
{
	const char *seed = getenv("HARNESS_SEED");
	struct utsname system;
	char total[32];
	char *memories;

	uname(&system);
	fact("release=%s", system.release);
	fact("cmdline=%s", content("/proc/cmdline"));
	fact("cpus=%ld", sysconf(_SC_NPROCESSORS_ONLN));
	fact("ram=%llu", system_ram());
	memories = content("/proc/meminfo");
	fact("mem_total=%llu", memory(memories, "MemTotal:"));
	fact("mem_free=%llu", memory(memories, "MemFree:"));
	fact("swap_total=%llu", memory(memories, "SwapTotal:"));
	fact("free_pcp=%llu", free_pcp());
	every_area();
	zswap_settings();
	limit("memory_max", "memory.max");
	limit("memory_high", "memory.high");
	sysctls(getenv("HARNESS_SYSCTLS"));
	if (getenv("HARNESS_DEVICE"))
		pci_devices();
	fact("held=%s", content("/run/held"));
	fact("seed=%s", seed ? seed : "");
	fact("taint=%s", content("/proc/sys/kernel/tainted"));
	snprintf(total, sizeof(total), "%d", count);
	frame("facts-end", total);
	return 0;
}
