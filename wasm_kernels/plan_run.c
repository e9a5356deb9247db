/* All threads walk one plan: chunks are claimed, never assigned, so nobody waits for a thread that the system does not
   run. A step begins when every chunk of the step before it is finished; steps that are joined count as one. */
#include "featherweight_kernels.h"
#include "plan.h"

#if defined(__wasm_atomics__)
#define HAS_THREADS 1
#else
#define HAS_THREADS 0
#endif

/* The first step after s that is not joined to it. */
static uint32_t after_joined(const fw_step *steps, uint32_t s, uint32_t end) {
  do s++;
  while (s < end && steps[s].joined);
  return s;
}

static void run_alone(fw_plan *plan, uint32_t begin, uint32_t end) {
  const fw_step *steps = (const fw_step *)plan->steps;
  for (uint32_t s = begin, next; s < end; s = next) {
    const uint32_t chunks = fw_step_chunks(plan, &steps[s]);
    next = after_joined(steps, s, end);
    for (uint32_t chunk = 0; chunk < chunks; chunk++) fw_steps_run(plan, &steps[s], &steps[next], chunk);
  }
}

#if HAS_THREADS
/* Polls before a thread sleeps: inside a run more than the longest chunks differ by, since a thread that sleeps comes
   back late, and between runs as long as it takes to choose a token. */
#define SPIN_STEP 60000
#define SPIN_IDLE 500000

static uint32_t load(const uint32_t *p) { return __atomic_load_n(p, __ATOMIC_SEQ_CST); }

/* Wait until *word is no longer `seen`; a waker has to look at plan->sleepers. */
static void wait_change(fw_plan *plan, uint32_t *word, uint32_t seen, uint32_t polls) {
  for (uint32_t i = 0; i < polls; i++) {
    if (load(word) != seen) return;
  }
  __atomic_fetch_add(&plan->sleepers, 1, __ATOMIC_SEQ_CST);
  __builtin_wasm_memory_atomic_wait32((int *)word, (int)seen, -1);
  __atomic_fetch_sub(&plan->sleepers, 1, __ATOMIC_SEQ_CST);
}

static void wake(fw_plan *plan, uint32_t *word) {
  if (load(&plan->sleepers)) __builtin_wasm_memory_atomic_notify((int *)word, 0xffffffffu);
}

/* Take one chunk of step s in this epoch. A claim holds the epoch beside the count, so that a thread which slept through
   the end of a run can never take work of the next one on old terms. Returns 0 when there is none. */
static int claim(fw_progress *progress, uint32_t epoch, uint32_t *chunk) {
  uint64_t seen = __atomic_load_n(&progress->claim, __ATOMIC_SEQ_CST);
  for (;;) {
    *chunk = (uint32_t)seen;
    if ((uint32_t)(seen >> 32) != epoch || *chunk >= load(&progress->total)) return 0;
    if (__atomic_compare_exchange_n(&progress->claim, &seen, seen + 1, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) return 1;
  }
}

static void walk(fw_plan *plan, uint32_t epoch, uint32_t begin, uint32_t end) {
  const fw_step *steps = (const fw_step *)plan->steps;
  for (uint32_t s = begin, next, chunk; s < end; s = next) {
    fw_progress *progress = (fw_progress *)plan->progress + s;
    next = after_joined(steps, s, end);
    while (claim(progress, epoch, &chunk)) {
      fw_steps_run(plan, &steps[s], &steps[next], chunk);
      if (__atomic_add_fetch(&progress->finished, 1, __ATOMIC_SEQ_CST) == load(&progress->total)) wake(plan, &progress->finished);
    }
    for (;;) {
      const uint32_t count = load(&progress->finished);
      if (count >= load(&progress->total)) break;
      if (load(&plan->epoch) != epoch) return;
      wait_change(plan, &progress->finished, count, SPIN_STEP);
    }
  }
}

static void run_together(fw_plan *plan, uint32_t begin, uint32_t end) {
  const uint32_t epoch = plan->epoch + 1;
  const fw_step *steps = (const fw_step *)plan->steps;
  fw_progress *progress = (fw_progress *)plan->progress;
  /* The new epoch goes into every claim first: from then on no late thread can take anything. */
  for (uint32_t s = begin; s < end; s++) __atomic_store_n(&progress[s].claim, (uint64_t)epoch << 32, __ATOMIC_SEQ_CST);
  for (uint32_t s = begin; s < end; s++) {
    __atomic_store_n(&progress[s].finished, 0, __ATOMIC_SEQ_CST);
    __atomic_store_n(&progress[s].total, fw_step_chunks(plan, &steps[s]), __ATOMIC_SEQ_CST);
  }
  plan->begin = begin;
  plan->end = end;
  __atomic_store_n(&plan->epoch, epoch, __ATOMIC_SEQ_CST);
  wake(plan, &plan->epoch);
  walk(plan, epoch, begin, end);
}
#endif

EXPORT void fw_plan_run(fw_plan *plan, uint32_t begin, uint32_t end) {
#if HAS_THREADS
  if (plan->threads > 1) {
    run_together(plan, begin, end);
    return;
  }
#endif
  run_alone(plan, begin, end);
}

EXPORT void fw_worker_loop(fw_plan *plan, uint32_t number) {
#if HAS_THREADS
  uint32_t epoch = 0;
  while (!load(&plan->stop)) {
    const uint32_t threads = load(&plan->threads);
    if (number >= threads) {
      __builtin_wasm_memory_atomic_wait32((int *)&plan->threads, (int)threads, -1);
      continue;
    }
    wait_change(plan, &plan->epoch, epoch, SPIN_IDLE);
    epoch = load(&plan->epoch);
    walk(plan, epoch, plan->begin, plan->end);
  }
#else
  (void)plan;
  (void)number;
#endif
}
