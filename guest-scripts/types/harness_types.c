// SPDX-License-Identifier: GPL-2.0-only
/*
 * The types of a kernel, for `ttm-harness inspect` to read an image of its
 * memory by. Subjects have more.
 */
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/shrinker.h>
#include <linux/utsname.h>
#ifdef CONFIG_X86
#include <asm/switch_to.h>
#endif

/* A type is described where something of it is defined. */
struct module *harness_module;
struct shrinker *harness_shrinker;
struct signal_struct *harness_signal_struct;
struct task_struct *harness_task_struct;
struct uts_namespace *harness_uts_namespace;
#ifdef CONFIG_X86
struct inactive_task_frame *harness_inactive_task_frame;
#endif

MODULE_DESCRIPTION("types for a debugger");
MODULE_LICENSE("GPL");
