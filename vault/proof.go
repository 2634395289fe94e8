package vault

// The uses of proofs. Each has a key of its own.
const (
	ProofBackup    = "backup"
	ProofTombstone = "tombstone"
)

// Prover returns a function that proves for one use that this registry wrote something: a keyed
// hash of its content, 256 bits. Whoever checks a proof makes it again and compares.
func (v *Vault) Prover(use string) (func(content []byte) []byte, error) {
	secret, err := v.secret(classProof.label)
	if err != nil {
		return nil, err
	}
	key := secret.derive(use)
	return func(content []byte) []byte { return mac(key, content) }, nil
}
