/* The engine's public face: settings in, events out. The program (src/) calls this and nothing else of engine/train.
 *
 * One call runs one job on the calling thread (the program gives it a thread of its own where it wants one). The engine never
 * prints, exits or touches a terminal; everything it has to say goes through the sink. */
#ifndef PDMBOOTH_H
#define PDMBOOTH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "formats/image.h"
#include "formats/source.h"

enum train_mode { MODE_FULL, MODE_LORA };
enum precision { PRECISION_FP32, PRECISION_BF16, PRECISION_FP16, PRECISION_TF32 }; /* a run's state knows them by number */
enum moments { MOMENTS_FP32, MOMENTS_BF16, MOMENTS_8BIT }; /* what AdamW's moments are kept in; from dear to cheap */
enum gradients { GRADIENTS_FP32, GRADIENTS_BF16 };
enum on_divergence { DIVERGENCE_STOP, DIVERGENCE_HALVE }; /* end with ERR_NUMERIC, or go on from the last state with half the rate */
enum graphs_when { GRAPHS_AUTO, GRAPHS_NO }; /* AUTO: where the device has them */
enum offload_when { OFFLOAD_AUTO, OFFLOAD_YES, OFFLOAD_NO }; /* AUTO: where a card's memory does not do */
enum on_full { FULL_WAIT, FULL_STOP };                    /* a full disk: wait for room, or end with ERR_FAILED */
enum { MAX_TEST_PROMPTS = 256, MAX_TARGETS = 16 };

/* Everything a run depends on; filled from a profile by src/profile.c, whose table of keys names each field once.
   Strings are owned by the caller and outlive the run; "" means not given. */
struct settings {
  const char *base;     /* [profile]: for the program alone, which has followed it */
  struct {              /* [model] */
    const char *path;   /* directory, single-file checkpoint, or "embedded"; a hub name was resolved by the program */
    const char *config; /* of a single file: diffusers directory for what its tensors do not tell; "" */
  } model;
  struct { /* [subject] */
    const char *name, *token, *class_name;
    const char *images;   /* directory, or "embedded:poodle" */
    const char *mask_dir; /* "": masks/ beside the photographs */
    const char *hold_out; /* file names left out of training, separated by commas */
    bool auto_mask;       /* derive the masks that no file gives */
  } subject;
  struct { /* [prompts] {token} and {class} already replaced */
    const char *instance, *class_prompt, *negative;
    const char *test[MAX_TEST_PROMPTS];
    int tests;
  } prompts;
  struct { /* [train] */
    enum train_mode mode;
    bool text_encoder;
    int steps, batch, accumulation;
    double lr;
    int schedule; /* enum lr_kind */
    int warmup;
    double lr_cycles, lr_power;
    int width, height; /* resolution */
    bool center_crop;
    double crop_margin; /* photographs are resized to cover (1 + this) times the resolution before a crop is taken */
    enum precision precision;
    uint64_t seed;
    int rank;
    double alpha; /* 0: as rank */
    const char *target[MAX_TARGETS];
    const char *start_from; /* LoRA file or PEFT directory that the adapters start from; "" */
    int targets;            /* 0: to_q, to_k, to_v, to_out.0 (text encoder: q_proj, k_proj, v_proj, out_proj) */
    double beta1, beta2, epsilon, weight_decay, max_grad_norm;
    int moments;      /* enum moments */
    int gradients;    /* enum gradients */
    bool recompute;   /* gradient checkpointing */
    double ema_decay; /* 0: none. With EMA, samples and saved weights are the averaged ones */
    double min_snr;   /* gamma; 0: off */
    double noise_offset;
    bool flip;
    int on_divergence; /* enum on_divergence */
  } train;
  struct { /* [losses] */
    bool instance, prior, pdm, mask_dm, mask_pdm, mask_prior;
    double prior_weight, pdm_weight;
    int pdm_steps; /* 999 */
    const char *pdm_layer;
  } losses;
  struct { /* [prior] */
    int images;
    const char *dir; /* "": inside the program's cache directory, by class and model */
    int sampler;     /* enum sampler_kind */
    int steps, batch;
    double guidance;
    bool latents; /* use the kept latents instead of encoding the 8-bit pictures again (faster; labelled) */
  } prior;
  struct {            /* [samples] */
    int every, count; /* every 0: only at the end; count pictures a prompt */
    uint64_t seed;    /* picture k of a prompt has seed + k */
    int sampler, steps, batch;
    double guidance;
  } samples;
  struct {             /* [checkpoints] */
    int every, keep;   /* every 0: only the final one; keep 0: all */
    int keep_best;     /* so many with the lowest probe loss stay as well */
    int state_every;   /* steps between saves of the state; 0: by time */
    bool save_weights; /* full fine-tune: write the final model */
    int dtype;         /* enum dtype of the files */
  } checkpoints;
  struct { /* [engine] */
    const char *device;
    int threads;
    int64_t memory;        /* bytes of the machine's memory, or of the card's that computes; 0: what is free */
    const char *on_finish; /* for the program alone: a command, and how many seconds it may take */
    int on_finish_limit;
    int least_moments; /* enum moments: what is allowed where [train] moments do not fit */
    int graphs;        /* enum graphs_when: the steps are recorded as CUDA graphs and launched as such; the result is the same */
    int offload;       /* enum offload_when: weights, gradients and moments of a full fine-tune in the host's memory, updated by the CPU */
    bool wait; /* plan for the whole memory of the machine, not for what is free now: the caller waits until it is (run_plan.waits) */
    int on_full;           /* enum on_full */
    const char *cache_dir; /* PDM targets, class images, a card's fastest algorithms: "" only in tests: then inside the run directory */
  } engine;
  const char *run_dir;
  bool resume;
  int dump_steps; /* 0: none */
  const char *dump_dir;
  int probe_every; /* 0: only first and last: the loss over 64 fixed (timestep, noise) pairs of the held-out photograph */
};

struct metrics {
  int step;                           /* from 1 */
  double instance, prior, pdm, total; /* NAN where a term is off */
  double lr, grad_norm, seconds;      /* of this step; grad_norm NAN: fp16 overflowed, the step made no update */
  double probe;                       /* NAN where it was not computed at this step */
};

struct sample_event {
  int step; /* 0: before training */
  const char *prompt, *negative;
  int prompt_index, picture_index;
  uint64_t seed;
  const char *sampler;
  int steps;
  double guidance;
  const struct image *picture;
};

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN };
/* What the program wants at this moment; asked between units of work (a denoising step, a training step). ENGINE_PAUSE: wait and ask again. */
enum engine_command { ENGINE_GO_ON, ENGINE_STOP_SIGINT, ENGINE_STOP_SIGTERM, ENGINE_PAUSE };

/* A change of a run under way. It is taken between two steps, written to RUN/journal.csv with the number of steps done, and only then takes
   effect; a resumed run replays it at the same place. */
enum engine_message_kind {
  ENGINE_SET_LR,                /* value: the base of the schedule, 0 to 1 */
  ENGINE_SET_SAMPLES_EVERY,     /* value: steps, 0: only at the end */
  ENGINE_SET_CHECKPOINTS_EVERY, /* value: steps, 0: only the final one */
  ENGINE_CHECKPOINT,            /* one now */
  ENGINE_SAMPLE,                /* samples now: of all test prompts, or of `prompt` alone */
  ENGINE_HALVE_LR,              /* written by the engine itself after a divergence; not to be sent */
  ENGINE_MESSAGES
};
enum { ENGINE_PROMPT = 512 };
struct engine_message {
  enum engine_message_kind kind;
  double value;
  uint64_t id; /* of this message: one whose id the journal holds was taken already and is dropped. 0: none */
  char prompt[ENGINE_PROMPT]; /* ENGINE_SAMPLE: "" for the test prompts */
};

struct run_plan;

/* Called on the engine's thread, in order. NULL members are skipped. */
struct sink {
  void *user;
  void (*log)(void *user, enum log_level level, const char *text);
  /* progress inside a stage: "masks", "class images", "pdm targets", "training", "samples", "saving"; done of total units */
  void (*progress)(void *user, const char *stage, int64_t done, int64_t total);
  void (*metrics)(void *user, const struct metrics *m);
  /* a mask of a photograph is there; share of the area, confidence 0..1 (1: it was given). overlay: file to look at */
  void (*mask)(void *user, const char *photograph, const char *overlay, double share, double confidence);
  bool (*sample)(void *user, const struct sample_event *s, struct err *e); /* false stops the run with *e */
  bool (*samples)(void *user, int step, struct err *e); /* all pictures of a step have been given, some perhaps to an earlier process */
  void (*checkpoint)(void *user, int step, const char *path, bool final); /* it has been written */
  /* The state is about to be saved: what was told before must be on the disk when this returns. False: it is not, *e; then no state is saved. */
  bool (*sync)(void *user, struct err *e);
  enum engine_command (*poll)(void *user);
  /* Between two steps, `step` done: the next change into *out, false: none (is due). Returning the next one means that the one before is in
     the journal. */
  bool (*message)(void *user, int step, struct engine_message *out);
  void (*plan)(void *user, const struct run_plan *p);                      /* before the first stage */
  void (*left)(void *user, double seconds); /* of the whole run, before each progress; corrected as it goes */
};

struct run_result {
  int steps_done, start_step;
  double last_loss;
  char checkpoint[4096]; /* the final or last one; "" when none */
  int best_step;         /* checkpoint with the lowest probe loss, -1: none was measured (keep_best) */
  double seconds;
  bool card;                           /* it computed on a card with memory of its own */
  int64_t memory_planned, memory_peak; /* bytes that the run took of the memory that it computes in: of the process, or of the card */
  int64_t host_planned, host_peak;     /* card: bytes of the process; else 0 */
  int64_t work_planned, work_touched;  /* bytes of the region of the passes, the larger one where it was reserved twice */
};

/* --- the plan: what a run takes, from its own forward and backward code on a backend that only counts; no weights are read ----------- */

enum { PLAN_STAGES = 9, PLAN_PLACES = 3 };

struct plan_stage {
  const char *name; /* "loading", "masks", "class images", "pdm targets", "encoding", "training", "samples", "probe", "saving" */
  int64_t units;    /* pictures looked at, class images, passes, photographs, steps, pictures, measurements, files written; 0: nothing is left to do */
  int64_t memory;   /* bytes at the stage's peak: of the process, or of the card's memory */
  int64_t work;     /* of these, the region that its passes run in */
  int64_t host;     /* bytes of the process at the stage's peak; the same as memory where there is no card */
  int64_t disk;     /* bytes that it has on disk at most */
  double seconds;
  int64_t early;        /* units that are done first and take another time than the rest; 0: all take the same */
  double early_seconds; /* of seconds */
};

/* A directory that the run writes below, and the file system there. */
struct plan_place {
  const char *what; /* "run directory", "cache", "class images"; places on one file system are one, under the first name */
  char path[4096];
  int64_t needed, available; /* bytes */
};

struct run_plan {
  struct plan_stage stage[PLAN_STAGES]; /* in the order of the run */
  struct plan_place place[PLAN_PLACES];
  int places;
  bool card;                                 /* the memory that is meant is a card's: that of the machine is planned beside it */
  int64_t memory;                            /* bytes at the peak: of the process, or taken of the card */
  int64_t allowed, machine, available;       /* what it was planned for, what is there, what is free now (what this process has of it included) */
  int64_t context;                           /* of the card: what its driver, the libraries and other programs had when the plan was made */
  int64_t host_memory, host_process;         /* card: bytes of the process at its peak; before the weights are read */
  int64_t host_allowed, host_machine, host_available; /* card: as above, of RAM */
  int64_t process, weights, packed;          /* of the peak: before the weights are read; weights; copies in another layout */
  int64_t gradients, moments, averaged;      /* of what is trained */
  int64_t home, away;                        /* offloaded: of what is trained, in the host's memory: weights; gradients, moments, averages */
  int64_t scratch, work, buffers;            /* of the backend; the region of the passes; pictures, rows and the like, of the process always */
  int64_t left;                              /* bytes on disk when all is done */
  int blocks, recomputed;                    /* of the UNet: how many of its blocks are computed again in the backward pass */
  int samples_batch, prior_batch, pdm_batch; /* pictures at once, as planned */
  bool offloaded;                            /* fp32 values of the networks are not in the device's memory */
  int moments_kind;                          /* enum moments, as planned */
  bool replanned, waits;                     /* replanned: something is not as the profile says; waits: more than is available now */
  bool measured;                             /* seconds are from passes of this model's shapes, not from a rule of thumb */
  double seconds, flops;
};

/* What a training step calls `calls` times: flops and bytes of one call, where each operand is read or written once. */
struct plan_operation {
  const char *name, *type; /* "conv_dw", "BF16": of the activations */
  char shape[96];          /* "4x64x64x320 to 640, 3x3" */
  double calls, flops, bytes;
};

struct plan_options {
  bool measure; /* run operations of the real shapes: seconds to half a minute */
  void (*operation)(void *user, const struct plan_operation *op); /* told each operation of a micro-batch's step; NULL: not wanted */
  void *user;
  bool begins; /* a run is about to begin: a card's fastest algorithms, found for the plan, are noted in the cache directory, and not looked for again */
};

/* ERR_FIT with remedies where it fits neither memory nor disk; *out then holds what was found. Writes nothing else. */
bool engine_plan(const struct settings *s, const struct embedded_file *embedded, const struct sink *sink, const struct plan_options *o,
                 struct run_plan *out, struct err *e);

/* Class images, PDM targets, training, samples, checkpoints, final model. embedded: the program's built-in files, or NULL.
   False and *e where it failed or was stopped (ERR_SIGINT, ERR_SIGTERM after saving the state). */
bool engine_run(const struct settings *s, const struct embedded_file *embedded, const struct sink *sink, struct run_result *out,
                struct err *e);

/* Whether the value of a message is one that its kind may have. */
bool engine_message_valid(const struct engine_message *m);

/* For the program's own files: waits as the engine does when writing path failed with *e for want of room. True: write it again. */
bool engine_room_again(const struct settings *s, const struct sink *sink, const char *path, struct err *e);

/* Only the masks of the photographs: derived ones, and those of files too, into out_dir with an overlay of each (train/automask.h). The training
   settings that count are model, subject, class, resolution, precision and engine. */
bool engine_masks(const struct settings *s, const struct embedded_file *embedded, const struct sink *sink, const char *out_dir, struct err *e);

/* One call of `sample`. */
struct sample_job {
  const char *model;  /* diffusers directory, single-file checkpoint, or "embedded" */
  const char *config; /* of a single file: diffusers directory for what its tensors do not tell; "" */
  const char *lora;   /* LoRA file or PEFT directory, or "" */
  double scale;       /* of the LoRA */
  const char *const *prompts;
  int n_prompts;
  const char *negative;
  int count; /* pictures a prompt */
  uint64_t seed;
  int sampler, steps, batch, width, height; /* width 0: the model's own size */
  double guidance;
  enum precision precision;
  const char *device;
  int threads;
  const char *latents_in; /* .npy [n, c, h, w] of initial noise, or "" */
  const char *dump_dir;   /* "": none; else noise.npy and latents.npy (final, scaled space) [n, c, h, w], text.npy and negative.npy
                             [n, 77, d] of all n pictures */
};
bool engine_sample(const struct sample_job *j, const struct embedded_file *embedded, const struct sink *sink, struct err *e);

/* Opens a device ("auto", "cpu" ...) and multiplies matrices of 1024 x 1024 fp32 numbers for about so many seconds. text: one line on the device, such as
   "cpu: oneDNN 2.6.3, avx512, 8 threads"; *rate: floating-point operations a second. ERR_FIT: this build has no such device, or it cannot be used. */
bool engine_try_device(const char *device, int threads, double seconds, char *text, size_t n, double *rate, struct err *e);
/* A device that some build knows: "auto", "cpu", "ref", "cuda", and "cuda:1" and so on for one of several cards. */
bool engine_device_is_known(const char *device);
/* Whether a run could begin with the model (a diffusers directory or "embedded"): configurations, every tensor's presence, type and shape; no weights are
   loaded. ERR_INPUT with a sentence. */
struct model_facts {
  int64_t parameters; /* of all networks together */
  int side;           /* pixels of the pictures that it was made for */
};
bool engine_check_model(const char *model, const struct embedded_file *embedded, struct model_facts *f, struct err *e);

#endif
