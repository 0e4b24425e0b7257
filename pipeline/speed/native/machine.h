/* FOR_EACH_MACHINE: a function that is compiled for several machines, of which the loader takes what this one has. */
#ifndef GRISTMILL_MACHINE_H
#define GRISTMILL_MACHINE_H

#if !defined(__x86_64__) || !defined(__linux__) || !defined(__GNUC__) || defined(__clang__)
#define FOR_EACH_MACHINE
#elif __GNUC__ < 12
#define FOR_EACH_MACHINE __attribute__((target_clones("arch=skylake-avx512", "avx2", "default"), optimize("O3")))
#else
#define FOR_EACH_MACHINE __attribute__((target_clones("arch=x86-64-v4", "avx2", "default"), optimize("O3")))
#endif

#endif
