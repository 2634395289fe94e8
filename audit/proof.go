package audit

import (
	"context"

	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"

	"github.com/annona-exchange/annona"
)

// Tree hands out nodes of the ledger's tree. annona.LedgerReader is one.
type Tree interface {
	TreeNodes(ctx context.Context, nodes []annona.TreeNode) ([][]byte, error)
}

// InclusionProof returns the hashes that prove, by RFC 6962, that the entry of that index is
// in the tree of that size.
func InclusionProof(ctx context.Context, t Tree, index, size int64) ([][]byte, error) {
	nodes, err := proof.Inclusion(uint64(index), uint64(size))
	if err != nil || index < 0 {
		return nil, annona.Invalid("proof_out_of_range", "an entry lies below the size of the tree")
	}
	return hashesOf(ctx, t, nodes)
}

// ConsistencyProof returns the hashes that prove, by RFC 6962, that the tree of size to
// continues the one of size from.
func ConsistencyProof(ctx context.Context, t Tree, from, to int64) ([][]byte, error) {
	nodes, err := proof.Consistency(uint64(from), uint64(to))
	if err != nil || from < 0 {
		return nil, annona.Invalid("proof_out_of_range", "from is not greater than to, and neither is negative")
	}
	return hashesOf(ctx, t, nodes)
}

func hashesOf(ctx context.Context, t Tree, nodes proof.Nodes) ([][]byte, error) {
	hashes, err := t.TreeNodes(ctx, treeNodes(nodes.IDs))
	if err != nil {
		return nil, err
	}
	hashes, err = nodes.Rehash(hashes, rfc6962.DefaultHasher.HashChildren)
	if err != nil {
		return nil, annona.Internal("make a proof", err)
	}
	return hashes, nil
}

func treeNodes(ids []compact.NodeID) []annona.TreeNode {
	nodes := make([]annona.TreeNode, len(ids))
	for i, id := range ids {
		nodes[i] = annona.TreeNode{Level: int64(id.Level), Index: int64(id.Index)}
	}
	return nodes
}

// CheckInclusion reports whether a proof shows that the leaf is at that index of the tree that
// the checkpoint states.
func CheckInclusion(c annona.Checkpoint, index int64, leaf []byte, hashes [][]byte) bool {
	h := hashLeaf(leaf)
	return index >= 0 && proof.VerifyInclusion(rfc6962.DefaultHasher, uint64(index), uint64(c.Size), h[:], hashes, c.Root[:]) == nil
}

// CheckConsistency reports whether a proof shows that the later checkpoint's tree continues the
// earlier one's.
func CheckConsistency(earlier, later annona.Checkpoint, hashes [][]byte) bool {
	return proof.VerifyConsistency(rfc6962.DefaultHasher, uint64(earlier.Size), uint64(later.Size), hashes, earlier.Root[:], later.Root[:]) == nil
}

// rootAt computes the root that the tree had at a size, from its nodes.
func rootAt(ctx context.Context, t Tree, size int64) (root [32]byte, err error) {
	if size == 0 {
		copy(root[:], rfc6962.DefaultHasher.EmptyRoot())
		return root, nil
	}
	hashes, err := t.TreeNodes(ctx, treeNodes(compact.RangeNodes(0, uint64(size), nil)))
	if err != nil {
		return root, err
	}
	edge, err := ranges().NewRange(0, uint64(size), hashes)
	if err != nil {
		return root, annona.Internal("read the ledger's tree", err)
	}
	b, err := edge.GetRootHash(nil)
	copy(root[:], b)
	return root, err
}

func ranges() *compact.RangeFactory {
	return &compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren}
}
