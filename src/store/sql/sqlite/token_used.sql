UPDATE tokens SET used_at = ?2 WHERE digest = ?1
