/** Owns the choice of the session that a loaded model gets. */

import { EngineDecoderSession } from "./decoder_session.js";
import { EngineEncoderDecoderSession } from "./encoder_decoder_session.js";
import { EngineEncoderSession } from "./encoder_session.js";

const SESSIONS = Object.freeze({
  decoder: EngineDecoderSession,
  encoder: EngineEncoderSession,
  "encoder-decoder": EngineEncoderDecoderSession,
});

/** @param {import("./engine.js").Engine} engine */
export function openSession(engine) {
  return new SESSIONS[engine.plan.model.kind](engine);
}
